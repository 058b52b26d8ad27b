"""People with throw-away keys, and the plain git that they sign with."""

import os
import subprocess
from datetime import datetime
from pathlib import Path


class Person:
    """Somebody with a home, a key, and a git configuration of their own; nothing of the user's is read."""

    def __init__(self, name: str, kind: str, folder: Path, ssh_command: str, at: datetime | None = None, lives: str = "never"):
        """`at`: the time that this person's gpg believes it is; the key is made then and lives so long."""
        self.name, self.kind = name, kind
        self.home = folder / name
        self.home.mkdir(parents=True)
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_SSH_COMMAND": ssh_command, "GNUPGHOME": str(self.home / "g"),
        }  # fmt: skip
        config = f"[user]\n\tname = {name}\n\temail = {name}@example.invalid\n"
        if kind == "openpgp":
            (self.home / "g").mkdir(mode=0o700)
            if at is not None:
                self.clock(at)
            self._run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key",
                      f"{name} <{name}@example.invalid>", "ed25519", "sign", lives)  # fmt: skip
            listing = self._run("gpg", "--batch", "--with-colons", "--list-keys", name)
            self.fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
            self.public = self._run("gpg", "--batch", "--armor", "--export", self.fingerprint)
            config += f"\tsigningkey = {self.fingerprint}\n"
        else:
            key = self.home / "key"
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))
            self.fingerprint = self._run("ssh-keygen", "-lf", f"{key}.pub").split()[1]
            self.public = key.with_suffix(".pub").read_text()
            config += f"\tsigningkey = {key}.pub\n[gpg]\n\tformat = ssh\n"
        config += "[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
        (self.home / ".gitconfig").write_text(config)

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self.env, check=True, capture_output=True, text=True)
        return done.stdout

    def clock(self, at: datetime) -> None:
        """What a thief does with a key that has ended: gpg and git believe that it is another time."""
        (self.home / "g" / "gpg.conf").write_text(f"faked-system-time {at:%Y%m%dT%H%M%S}!\n")
        self.env["GIT_COMMITTER_DATE"] = self.env["GIT_AUTHOR_DATE"] = f"{at:%Y-%m-%dT%H:%M:%S+00:00}"

    def identity(self) -> dict:
        """How a policy names this person."""
        return {"keys": [{self.kind: self.fingerprint}]}

    def key_file(self) -> tuple[str, str]:
        """Where the public key lies in a fleet repository, and its text."""
        ending = "asc" if self.kind == "openpgp" else "pub"
        return f"trust/keys/{self.name}.{ending}", self.public

    def leave(self) -> None:
        """Ends the agent that gpg started."""
        if self.kind == "openpgp":
            subprocess.run(["gpgconf", "--kill", "all"], env=self.env, check=False)
