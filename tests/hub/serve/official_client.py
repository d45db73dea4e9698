# What Python's huggingface_hub does against a local Hub, whose address and token are in the environment: uploads in
# every way it has, downloads, squashes history. Prints what came of it as JSON.
import hashlib
import json
import os
import sys

import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

FOLDER, BACK = sys.argv[1:]
api = HfApi()
out = {"version": float(".".join(huggingface_hub.__version__.split(".")[:2]))}


def sums(folder):
    """SHA-256 by path."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            if "/.cache/" not in path:
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def refused(call, *args, **options):
    try:
        call(*args, **options)
    except (HfHubHTTPError, RuntimeError, ValueError) as error:
        return str(error)
    return None


api.create_repo("me/folder", exist_ok=True)
api.upload_folder(repo_id="me/folder", folder_path=FOLDER, commit_message="all at once")
out["upload_folder"] = sums(snapshot_download("me/folder"))

api.create_repo("me/large", exist_ok=True, repo_type="dataset")
# since 2.0 upload_folder does this for folders of any size
upload_large_folder = getattr(api, "upload_large_folder", api.upload_folder)
upload_large_folder(repo_id="me/large", repo_type="dataset", folder_path=FOLDER)
out["upload_large_folder"] = sums(snapshot_download("me/large", repo_type="dataset", local_dir=BACK))

api.create_repo("me/single")
with open(os.path.join(FOLDER, "weights.bin"), "rb") as file:
    weights = file.read()
api.upload_file(repo_id="me/single", path_in_repo="deep/w.bin", path_or_fileobj=weights)
api.create_commit(
    "me/single",
    operations=[CommitOperationAdd("a.txt", b"one"), CommitOperationAdd("again.bin", weights[::-1])],
    commit_message="two more",
)
api.upload_file(repo_id="me/single", path_in_repo="a.txt", path_or_fileobj=b"two")
with open(hf_hub_download("me/single", "deep/w.bin"), "rb") as file:
    out["hf_hub_download"] = file.read() == weights
with open(hf_hub_download("me/single", "again.bin"), "rb") as file:
    out["reversed"] = file.read() == weights[::-1]

before = api.list_repo_commits("me/single")
api.create_branch("me/single", branch="dev")
api.super_squash_history("me/single", commit_message="one commit")
after = api.list_repo_commits("me/single")
out["squash"] = [len(before), [commit.title for commit in after], sorted(api.list_repo_files("me/single"))]
with open(hf_hub_download("me/single", "a.txt"), "rb") as file:
    out["squashed"] = file.read().decode()
with open(hf_hub_download("me/single", "a.txt", revision=before[1].commit_id), "rb") as file:
    out["before"] = file.read().decode()
api.super_squash_history("me/single", branch="dev")
out["dev"] = [commit.title for commit in api.list_repo_commits("me/single", revision="dev")]
api.create_tag("me/single", tag="v1")
out["refused"] = {
    "tag": refused(api.super_squash_history, "me/single", branch="v1"),
    "no branch": refused(api.super_squash_history, "me/single", branch="none"),
    "pull request": refused(api.create_pull_request, "me/single", title="x"),
    "upload as one": refused(
        api.upload_file, repo_id="me/single", path_in_repo="b.bin", path_or_fileobj=weights, create_pr=True
    ),
    "wrong token": refused(
        HfApi(token="hf_testGuest").upload_file, repo_id="me/single", path_in_repo="b.bin", path_or_fileobj=weights
    ),
}
print(json.dumps(out))
