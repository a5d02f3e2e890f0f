"""A hub on 127.0.0.1 that takes uploads as Hugging Face and ModelScope do, from their own clients."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from fault_server import COMMIT, FaultServer, Handler, Seen

LARGE = (".safetensors", ".png")
"""Which files a hub wants to have by the protocol of git's large files."""


@dataclass
class UploadServer(FaultServer):
    """Repositories that were created or uploaded to are models of `FaultServer`, which lists and serves them."""

    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the clients said of the repositories that they created."""
    branches: list[str] = field(default_factory=list)
    """The branches that commits went to, in order."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """Large files by their sha256."""
    refused: str = "nothing at all"
    """A part of a path; what is sent there gets the status 400."""

    @property
    def handler(self) -> type[Handler]:
        return UploadHandler


class UploadHandler(Handler):
    """Answers POST and PUT."""

    owner: UploadServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._is_refused():
            return self.send(401, b'{"error": "Invalid username or password."}')
        path = unquote(urlsplit(self.path).path).strip("/")
        if self.owner.refused in path:
            return self.send(400, b'{"error": "not today", "Message": "not today"}')
        parts = path.split("/")
        if path == "api/repos/create":
            document = json.loads(body)
            return self._create(f"{document['organization']}/{document['name']}", document)
        if path == "api/v1/models":
            document = json.loads(body)
            return self._create(f"{document['Path']}/{document['Name']}", document)
        if path == "api/validate-yaml":
            return self._answer_json({"errors": [], "warnings": []})
        if path.endswith("info/lfs/objects/batch"):
            return self._offer(json.loads(body)["objects"], is_wrapped=path.startswith("api/v1/"))
        if parts[:2] == ["api", "models"] and parts[4] == "preupload":
            return self._answer_json({"files": [_upload_mode(file["path"]) for file in json.loads(body)["files"]]})
        if parts[:2] == ["api", "models"] and parts[4] == "branch":
            return self._answer_json({})
        if parts[:2] == ["api", "models"] and parts[4] == "commit":
            return self._commit_lines("/".join(parts[2:4]), "/".join(parts[5:]), body)
        if parts[:4] == ["api", "v1", "repos", "models"] and parts[6] == "commit":
            return self._commit_actions("/".join(parts[4:6]), "/".join(parts[7:]), json.loads(body)["actions"])
        return self.send(404, b"not found")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != oid:
            return self.send(400, b"not the announced bytes")
        self.owner.blobs[oid] = body
        return self.send(200, b"")

    def _answer(self, seen: Seen) -> tuple[int, bytes, dict[str, str]]:
        name = seen.path.strip("/").removeprefix("api/v1/models/")
        if seen.path.startswith("/api/v1/models/") and name.count("/") == 1 and not self._is_refused():
            is_known = name in self.owner.models
            return 200 if is_known else 404, json.dumps({"Code": 200, "Data": {}, "Success": is_known}).encode(), {}
        return super()._answer(seen)

    def _is_refused(self) -> bool:
        return self.owner.token is not None and self.headers.get("Authorization") != f"Bearer {self.owner.token}"

    def _answer_json(self, document: Any, status: int = 200) -> None:
        self.send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _create(self, name: str, document: dict[str, Any]) -> None:
        if name in self.owner.models:
            return self._answer_json({"error": "exists", "url": f"{self.owner.url}/{name}"}, 409)
        self.owner.models[name] = {}
        self.owner.created[name] = document
        return self._answer_json({"url": f"{self.owner.url}/{name}", "Code": 200, "Data": {}, "Success": True})

    def _offer(self, objects: list[dict[str, Any]], *, is_wrapped: bool) -> None:
        offered = [
            {**entry, "actions": {"upload": {"href": f"{self.owner.url}/blobs/{entry['oid']}"}}}
            for entry in objects
            if entry["oid"] not in self.owner.blobs
        ]
        self._answer_json({"Code": 200, "Data": {"objects": offered}} if is_wrapped else {"objects": offered})

    def _commit_lines(self, name: str, branch: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.owner.models[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.owner.models[name][value["path"]] = self.owner.blobs[value["oid"]]
        self.owner.branches.append(branch)
        self._answer_json({"commitOid": COMMIT, "commitUrl": f"{self.owner.url}/{name}/commit/{COMMIT}"})

    def _commit_actions(self, name: str, branch: str, actions: list[dict[str, Any]]) -> None:
        for action in actions:
            is_large = action["type"] == "lfs"
            data = self.owner.blobs[action["sha256"]] if is_large else base64.b64decode(action["content"])
            self.owner.models[name][action["path"]] = data
        self.owner.branches.append(branch)
        self._answer_json({"Code": 200, "Data": {}, "Success": True})


def _upload_mode(path: str) -> dict[str, Any]:
    return {"path": path, "uploadMode": "lfs" if path.endswith(LARGE) else "regular", "shouldIgnore": False}
