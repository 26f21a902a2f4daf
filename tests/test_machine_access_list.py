"""Who may write into a folder on Windows, by its owner and access list as text; and as Windows itself says it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from machine.access_list import writers
from machine.folders import FolderError, bot_folder

ME, MALLORY = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
PROFILE = f"(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{ME})"


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (f"O:{ME}D:P{PROFILE}", []),
        (f"O:BAG:DUD:AI{PROFILE}", []),
        (f"O:{ME}D:AI{PROFILE}(A;OICIID;0x1200a9;;;BU)(A;ID;FR;;;WD)", []),  # read only
        (f"O:{ME}D:AI{PROFILE}(D;;FA;;;WD)(A;OICIIO;GA;;;CO)(A;;FA;;;S-1-15-2-1-2)", []),
        (f"O:{ME}D:AI{PROFILE}(A;ID;0x1301bf;;;AU)(A;OICIIOID;SDGXGWGR;;;AU)", ["every account"]),  # below C:\\
        (f"O:{ME}D:AI{PROFILE}(A;;LC;;;BU)", ["all users"]),
        (f"O:{ME}D:(A;;FA;;;WD)", ["everybody"]),
        (f"O:{ME}D:{PROFILE}(A;;0x40;;;{MALLORY})", [MALLORY]),
        (f"O:{MALLORY}D:{PROFILE}", [MALLORY]),
        (f"O:{ME}D:NO_ACCESS_CONTROL", ["everybody"]),
        ("", []),
        ("garbage(A;(;;", []),
    ],
)
def test_who_else_may_write_by_the_access_list(text: str, who: list[str]) -> None:
    assert writers(text, ME) == who


@pytest.mark.skipif(sys.platform != "win32", reason="access lists of Windows")
def test_a_new_folder_is_closed_and_one_that_others_can_write_is_refused(tmp_path: Path) -> None:
    if sys.platform != "win32":
        return
    import ctypes

    folder = bot_folder(42, tmp_path / "data")
    assert bot_folder(42, tmp_path / "data") == folder
    descriptor, advapi = ctypes.c_void_p(), ctypes.windll.advapi32
    everybody = ctypes.c_wchar_p("D:P(A;OICI;FA;;;WD)")
    assert advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(everybody, 1, ctypes.byref(descriptor), None)
    assert advapi.SetFileSecurityW(str(folder), 4, descriptor)
    with pytest.raises(FolderError, match=r"can be written by everybody.*icacls"):
        bot_folder(42, tmp_path / "data")
