"""Windows: which accounts may write into a folder, by its owner and access list, and a new folder closed to others.

Both are read as text: Microsoft, "Security Descriptor String Format" and "ACE Strings". What cannot be read, as on
some network disks, counts as closed: a wrong guess would keep the bot from starting.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

log = logging.getLogger(__name__)

# System, administrators (local, built-in, of the domain), the creator, the owner.
_TRUSTED = frozenset({"SY", "BA", "LA", "DA", "CO", "OW"})
# Packages of apps have no more than the user who runs them; the second is the system's TrustedInstaller.
_HARMLESS = ("S-1-15-", "S-1-5-80-956008885-")
_NAMES = {"WD": "everybody", "AU": "every account", "BU": "all users", "BG": "guests", "AN": "everybody"}
# Write or add data, delete (also what is inside), change the list or the owner; generic and file rights for all that.
_WRITING = 0x2 | 0x4 | 0x40 | 0x10000 | 0x40000 | 0x80000 | 0x40000000 | 0x10000000
_WRITING_WORDS = frozenset({"DC", "LC", "DT", "SD", "WD", "WO", "GW", "GA", "FW", "FA"})


def writers(sddl: str, me: str) -> list[str]:
    """Who else than `me` (a SID), the system and the administrators may write, by the text of owner and list."""
    owner = (re.match(r"O:(S-[\d-]+|[A-Z]{2})", sddl) or [None, ""])[1] or ""
    found = [owner] if owner.startswith("S-1-5-21-") and owner != me else []
    if "D:NO_ACCESS_CONTROL" in sddl:  # no list: everything is allowed
        found.append("WD")
    for entry in re.findall(r"\(([^)]*)\)", sddl):
        kind, _, rights, _, _, who = f"{entry};;;;;".split(";")[:6]
        trusted = who in _TRUSTED or who == me or who.startswith(_HARMLESS)
        if kind in ("A", "XA", "OA") and not trusted and _lets_write(rights):
            found.append(who)
    return [_NAMES.get(who, who) for who in dict.fromkeys(found)]


def _lets_write(rights: str) -> bool:
    if rights.startswith("0x"):
        return bool(int(rights, 16) & _WRITING)
    return bool(_WRITING_WORDS & set(re.findall("..", rights)))


if sys.platform == "win32":
    _OWNER, _LIST, _PROTECTED = 1, 4, 0x80000000

    def writers_of(folder: Path) -> list[str]:
        """Who else may write into this folder."""
        try:
            return writers(_text_of(folder), _own_sid())
        except OSError as error:
            log.debug("The access list of %s cannot be read: %s", folder, error)
            return []

    def close(folder: Path) -> None:
        """Leave a new folder to this account, the system and the administrators. Python does so since 3.12.4."""
        try:
            text = "D:P" + "".join(f"(A;OICI;FA;;;{who})" for who in (_own_sid(), "SY", "BA"))
            descriptor = ctypes.c_void_p()
            convert = _advapi().ConvertStringSecurityDescriptorToSecurityDescriptorW
            convert.argtypes = [wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p]
            _check(convert(text, 1, ctypes.byref(descriptor), None))
            change = _advapi().SetFileSecurityW
            change.argtypes = [wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p]
            _check(change(str(folder), _LIST | _PROTECTED, descriptor))
            ctypes.windll.kernel32.LocalFree(descriptor)
        except OSError as error:
            log.debug("The access list of %s cannot be changed: %s", folder, error)

    def _text_of(folder: Path) -> str:
        descriptor, text = ctypes.c_void_p(), wintypes.LPWSTR()
        ask = _advapi().GetNamedSecurityInfoW
        ask.argtypes = [wintypes.LPCWSTR, ctypes.c_int, wintypes.DWORD, *[ctypes.c_void_p] * 5]
        code = ask(str(folder), 1, _OWNER | _LIST, None, None, None, None, ctypes.byref(descriptor))
        if code:
            raise ctypes.WinError(code)
        convert = _advapi().ConvertSecurityDescriptorToStringSecurityDescriptorW
        convert.argtypes = [ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p]
        _check(convert(descriptor, 1, _OWNER | _LIST, ctypes.byref(text), None))
        return text.value or ""  # a few hundred bytes a start are not worth freeing

    def _own_sid() -> str:
        kernel, advapi = ctypes.WinDLL("kernel32", use_last_error=True), _advapi()
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        advapi.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE)]
        advapi.GetTokenInformation.argtypes = [
            wintypes.HANDLE,
            ctypes.c_int,
            ctypes.c_void_p,
            wintypes.DWORD,
            ctypes.c_void_p,
        ]
        advapi.ConvertSidToStringSidW.argtypes = [ctypes.c_void_p, ctypes.POINTER(wintypes.LPWSTR)]
        token, size, text = wintypes.HANDLE(), wintypes.DWORD(), wintypes.LPWSTR()
        _check(advapi.OpenProcessToken(kernel.GetCurrentProcess(), 8, ctypes.byref(token)))  # TOKEN_QUERY
        user = ctypes.create_string_buffer(256)
        _check(advapi.GetTokenInformation(token, 1, user, 256, ctypes.byref(size)))  # TokenUser
        kernel.CloseHandle.argtypes = [wintypes.HANDLE]
        kernel.CloseHandle(token)
        sid = ctypes.cast(user, ctypes.POINTER(ctypes.c_void_p))[0]
        _check(advapi.ConvertSidToStringSidW(sid, ctypes.byref(text)))
        return text.value or ""

    def _advapi() -> ctypes.WinDLL:
        return ctypes.WinDLL("advapi32", use_last_error=True)

    def _check(done: int) -> None:
        if not done:
            raise ctypes.WinError(ctypes.get_last_error())
