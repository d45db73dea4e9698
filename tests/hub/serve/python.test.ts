// The requests of Python's huggingface_hub, sent from Python by its standard library: the headers, forms and bodies are
// that client's. Skipped where there is no Python.

import { expect, test } from "bun:test";
import { askPython, pythonWith } from "../../python/python.ts";
import { filesIn, TOKEN, testHub } from "./serving.ts";

const python = pythonWith("urllib");

const SCRIPT = `
import base64, hashlib, json, sys, urllib.error, urllib.parse, urllib.request
base, token = sys.argv[1:3]
AUTH = {"authorization": "Bearer " + token, "user-agent": "unknown/None; hf_hub/0.34.4; python/3.11"}
def send(method, path, body=None, headers={}, auth=True):
    if isinstance(body, (dict, list)): body, headers = json.dumps(body).encode(), {"content-type": "application/json", **headers}
    url = path if path.startswith("http") else base + path
    request = urllib.request.Request(url, data=body, method=method, headers={**(AUTH if auth else {}), **headers})
    try:
        with urllib.request.urlopen(request) as r: return r.status, r.headers, r.read()
    except urllib.error.HTTPError as e: return e.code, e.headers, e.read()
out = {}
# create_repo(exist_ok=True), twice
create = {"name": "py", "organization": "me", "private": False}
out["create"] = [send("POST", "/api/repos/create", create)[0] for _ in range(2)]
# upload_folder: preupload, LFS batch and upload, commit
data = bytes(range(256)) * 10
sha = hashlib.sha256(data).hexdigest()
files = [{"path": "config.json", "sample": base64.b64encode(b"{}").decode(), "size": 2}, {"path": "w.bin", "sample": base64.b64encode(data[:512]).decode(), "size": len(data)}]
status, _, body = send("POST", "/api/models/me/py/preupload/main", {"files": files})
out["modes"] = {f["path"]: [f["uploadMode"], f["shouldIgnore"]] for f in json.loads(body)["files"]}
out["yaml"] = json.loads(send("POST", "/api/validate-yaml", {"repoType": "model", "content": "---\\nlicense: mit\\n---"})[2])
lfs = {"accept": "application/vnd.git-lfs+json", "content-type": "application/vnd.git-lfs+json"}
batch = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": sha, "size": len(data)}], "hash_algo": "sha256", "ref": {"name": "main"}}
_, _, body = send("POST", "/me/py.git/info/lfs/objects/batch", json.dumps(batch).encode(), lfs)
upload = json.loads(body)["objects"][0]["actions"]["upload"]
size, etags = int(upload["header"]["chunk_size"]), []
parts = [upload["header"][key] for key in sorted((k for k in upload["header"] if k.isdigit()), key=int)]
for i, url in enumerate(parts): etags.append(send("PUT", url, data[i * size:(i + 1) * size], auth=False)[1].get("etag"))
done = {"oid": sha, "parts": [{"partNumber": i + 1, "etag": e} for i, e in enumerate(etags)]}
out["complete"] = send("POST", upload["href"], json.dumps(done).encode(), lfs, auth=False)[0]
lines = [{"key": "header", "value": {"summary": "Upload folder using huggingface_hub", "description": ""}},
  {"key": "file", "value": {"content": base64.b64encode(b"{}").decode(), "path": "config.json", "encoding": "base64"}},
  {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": sha, "size": len(data)}}]
_, _, body = send("POST", "/api/models/me/py/commit/main", b"".join(json.dumps(l).encode() + b"\\n" for l in lines), {"content-type": "application/x-ndjson"})
commit = json.loads(body)["commitOid"]
# hf_hub_download: HEAD, then GET from where it stopped
_, head, _ = send("HEAD", "/me/py/resolve/main/w.bin", headers={"accept-encoding": "identity"})
out["head"] = [head["x-repo-commit"] == commit, head["x-linked-etag"], head["x-linked-size"], head["content-length"], head["location"]]
status, headers, rest = send("GET", "/me/py/resolve/%s/w.bin" % commit, headers={"range": "bytes=1000-"})
out["resume"] = [status, headers["content-range"], rest == data[1000:]]
# model_info, list_repo_tree, get_paths_info (a form), list_repo_refs, list_repo_commits
info = json.loads(send("GET", "/api/models/me/py/revision/main?blobs=True")[2])
out["info"] = [info["id"], info["sha"] == commit, [s["rfilename"] for s in info["siblings"]]]
tree = json.loads(send("GET", "/api/models/me/py/tree/main?recursive=True&expand=False")[2])
out["tree"] = [[t["type"], t["path"], t["size"]] for t in tree]
form = urllib.parse.urlencode([("paths", "w.bin"), ("paths", "none"), ("expand", "True")]).encode()
paths = json.loads(send("POST", "/api/models/me/py/paths-info/main", form, {"content-type": "application/x-www-form-urlencoded"})[2])
out["paths"] = [[p["path"], p["lfs"]["oid"], p["lastCommit"]["title"]] for p in paths]
out["refs"] = [b["ref"] for b in json.loads(send("GET", "/api/models/me/py/refs")[2])["branches"]]
out["missing"] = [send("HEAD", p)[1].get("x-error-code") for p in ("/me/py/resolve/main/none", "/me/py/resolve/none/w.bin", "/me/none/resolve/main/w.bin")]
out["xet"] = send("GET", "/api/models/me/py/xet-read-token/" + commit)[0]
out["tag"] = send("POST", "/api/models/me/py/tag/main", {"tag": "v1"})[0]
out["visibility"] = send("PUT", "/api/models/me/py/settings", {"visibility": "private"})[0]
out["private"] = send("GET", "/api/models/me/py", auth=False)[0]
out["deleted"] = send("DELETE", "/api/repos/delete", {"name": "py", "organization": "me", "type": "model"})[0]
out["sha"] = sha
print(json.dumps(out))
`;

test.skipIf(!python)("what Python's client sends is understood", async () => {
  const hub = await testHub({ multipartFrom: 2000, partSize: 1000 });
  const { sha, ...out } = await askPython<Record<string, unknown>>(python, SCRIPT, { args: [hub.url, TOKEN] });
  expect(out).toEqual({
    create: [200, 409],
    modes: { "config.json": ["regular", false], "w.bin": ["lfs", false] },
    yaml: { errors: [], warnings: [] },
    complete: 200,
    head: [true, `"${sha}"`, "2560", "2560", null],
    resume: [206, "bytes 1000-2559/2560", true],
    info: ["me/py", true, ["config.json", "w.bin"]],
    tree: [
      ["file", "config.json", 2],
      ["file", "w.bin", 2560],
    ],
    paths: [["w.bin", sha, "Upload folder using huggingface_hub"]],
    refs: ["refs/heads/main"],
    missing: ["EntryNotFound", "RevisionNotFound", "RepoNotFound"],
    xet: 404,
    tag: 200,
    visibility: 200,
    private: 401,
    deleted: 200,
  });
  expect(Object.keys(filesIn(hub.folder)).filter((name) => name.startsWith("models/"))).toEqual([]);
});
