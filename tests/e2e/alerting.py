"""What the real Alertmanager holds, and whom it told."""

import json
import urllib.request
from pathlib import Path


class Alertmanager:
    def __init__(self, url: str, notifications: Path):
        self.url, self.notifications = url, notifications

    def alerts(self, name: str | None = None, **labels: str) -> list[dict]:
        """Alerts that fire."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found = json.load(answer)
        return [
            alert for alert in found
            if (name is None or alert["labels"]["alertname"] == name)
            and all(alert["labels"].get(label) == value for label, value in labels.items())
        ]  # fmt: skip

    def told(self, name: str, status: str, since: float = 0, **labels: str) -> list[dict]:
        """Alerts of that status in notifications that the receiver got."""
        if not self.notifications.exists():
            return []
        found = []
        for line in self.notifications.read_text().splitlines():
            message = json.loads(line)
            if message["at"] < since:
                continue
            for alert in message["alerts"]:
                mine = alert["labels"]["alertname"] == name and alert["status"] == status
                if mine and all(alert["labels"].get(label) == value for label, value in labels.items()):
                    found.append(alert)
        return found
