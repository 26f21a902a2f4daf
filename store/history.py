"""What became of each alert in a chat: sent, held back, or only counted. The part `Store.history`."""

from __future__ import annotations

from store.database import Part
from store.readable import alerts_of
from store.rows import HistoryEntry


class History(Part):
    def newest(self, chat_id: int, *, limit: int) -> list[HistoryEntry]:
        """The newest alerts for a chat, newest first, whatever became of them."""
        # The newest of both kinds first, by an index: to sort a month of a busy chat would take a tenth of a second.
        rows = self._db.rows(
            "SELECT body, how, happened, came FROM ("
            "SELECT body, d.state AS how, a.at AS happened, d.created_at AS came FROM ("
            "SELECT id, state, created_at FROM deliveries WHERE chat_id = ? AND bundle IS NOT NULL "
            "ORDER BY created_at DESC, id DESC LIMIT ?) d "
            "JOIN bundled ON delivery_id = d.id JOIN alerts a ON key = alert_key "
            "UNION ALL SELECT body, why, alerts.at, h.at FROM (SELECT alert_key, why, at FROM held WHERE chat_id = ? "
            "ORDER BY at DESC, alert_key LIMIT ?) h JOIN alerts ON key = alert_key) found "
            "ORDER BY happened DESC, came DESC, body, how LIMIT ?",
            (chat_id, 2 * limit, chat_id, limit, 2 * limit),
        )
        found: dict[str, HistoryEntry] = {}
        for row, alert in alerts_of(self._db, rows):
            # A message that was sent anew leaves its alerts in two deliveries, the first of them buried.
            if alert.key not in found or row["how"] != "buried":
                found[alert.key] = HistoryEntry(alert, row["how"], row["came"])
        return list(found.values())[:limit]

    def between(self, chat_id: int, since: float, until: float) -> list[HistoryEntry]:
        """The alerts that came for a chat in that time, newest first. One sent anew comes twice, `buried` last."""
        times = (chat_id, since, until)
        rows = self._db.rows(
            "SELECT body, how, came FROM ("
            "SELECT body, d.state AS how, d.created_at AS came FROM deliveries d "
            "JOIN bundled ON delivery_id = d.id JOIN alerts ON key = alert_key "
            "WHERE d.chat_id = ? AND d.bundle IS NOT NULL AND d.created_at >= ? AND d.created_at < ? "
            "UNION ALL SELECT body, why, held.at FROM held JOIN alerts ON key = alert_key "
            "WHERE chat_id = ? AND held.at >= ? AND held.at < ?) found ORDER BY came DESC, body, how",
            (*times, *times),
        )
        return [HistoryEntry(alert, row["how"], row["came"]) for row, alert in alerts_of(self._db, rows)]
