"""Speaks to the YAML language server as an editor does: JSON-RPC over its standard input and output."""

import json
import pathlib
import queue
import subprocess
import threading

SETTINGS = {"yaml": {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}}


class LanguageServer:
    """One server for the files of one folder."""

    def __init__(self, modules: str, root: pathlib.Path):
        program = pathlib.Path(modules) / "yaml-language-server/bin/yaml-language-server"
        self.process = subprocess.Popen(
            ["node", program, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.messages = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.number = 0
        self.problems = {}
        self.versions = {}
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": True}},
                "hover": {"contentFormat": ["plaintext"]},
            },
        }
        self.ask("initialize", {"processId": None, "rootUri": root.as_uri(), "capabilities": capabilities})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def close(self):
        self.process.kill()
        self.process.wait()

    def _read(self):
        stream = self.process.stdout
        while line := stream.readline():
            length = 0
            while line.strip():
                name, _, value = line.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
                line = stream.readline()
            self.messages.put(json.loads(stream.read(length)))

    def _send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def _handle(self, message):
        """Answers requests of the server, and keeps the problems of each file."""
        if "method" in message and "id" in message:
            answer = None
            if message["method"] == "workspace/configuration":
                answer = [SETTINGS.get(item.get("section")) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": answer})
        elif message.get("method") == "textDocument/publishDiagnostics":
            self.problems[message["params"]["uri"]] = message["params"]["diagnostics"]

    def tell(self, method, params):
        self._send({"method": method, "params": params})

    def ask(self, method, params):
        self.number += 1
        self._send({"id": self.number, "method": method, "params": params})
        while True:
            message = self.messages.get(timeout=60)
            if message.get("id") == self.number and "method" not in message:
                assert "error" not in message, message
                return message["result"]
            self._handle(message)

    def check(self, path: pathlib.Path, text: str):
        """Opens a text at a path, or changes what is open there; returns the problems that the server finds in it."""
        uri = path.as_uri()
        self.problems.pop(uri, None)
        version = self.versions.get(uri, 0) + 1
        self.versions[uri] = version
        document = {"uri": uri, "languageId": "yaml", "version": version, "text": text}
        if version == 1:
            self.tell("textDocument/didOpen", {"textDocument": document})
        else:
            self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})
        while uri not in self.problems:
            self._handle(self.messages.get(timeout=60))
        return [f"line {one['range']['start']['line'] + 1}: {one['message']}" for one in self.problems[uri]]

    def _at(self, path, text):
        """Opens a text, and returns the place of `|` in it, which isn't part of the text."""
        before, _, after = text.partition("|")
        self.check(path, before + after)
        lines = before.split("\n")
        position = {"line": len(lines) - 1, "character": len(lines[-1])}
        return {"textDocument": {"uri": path.as_uri()}, "position": position}

    def complete(self, path, text):
        """Returns the words that the server offers at the place of `|`."""
        answer = self.ask("textDocument/completion", self._at(path, text))
        items = answer["items"] if isinstance(answer, dict) else answer or []
        return {item["label"] for item in items}

    def hover(self, path, text):
        """Returns what the server shows for the word at the place of `|`."""
        answer = self.ask("textDocument/hover", self._at(path, text))
        contents = (answer or {}).get("contents", "")
        return contents.get("value", "") if isinstance(contents, dict) else str(contents)
