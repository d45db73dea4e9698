"""Runs scripts of tests in forks of one process that has imported what takes long, such as torch.

Each line of stdin is a request in JSON: what to run, and the files that are its stdin, stdout and stderr. When it has
ended, its number and its exit status are a line of stdout. Each script has a process of its own, as if Python had been
started for it. Modules that read environment variables when they are imported, as huggingface_hub, are not imported here.
"""

import atexit
import importlib
import json
import os
import select
import sys
import threading
import traceback
import types
import warnings

PRELOADED = ["numpy", "torch", "torch._dynamo", "torchvision", "scipy.sparse", "sklearn.metrics", "PIL.Image"]


def preload() -> None:
    # Warnings of an import are shown once in a process: not here, so that the scripts show theirs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in PRELOADED:
            try:
                importlib.import_module(name)
            except Exception:
                pass  # a script that needs it says so itself


def redirect(request: dict) -> None:
    for number, (path, flags) in enumerate(
        [(request["stdin"], os.O_RDONLY), (request["stdout"], os.O_WRONLY), (request["stderr"], os.O_WRONLY)]
    ):
        opened = os.open(path, flags | (os.O_CREAT if number else 0), 0o600)
        os.dup2(opened, number)
        os.close(opened)


def run(request: dict) -> int:
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    # What Python reads when it starts.
    sys.dont_write_bytecode = True
    if request["env"].get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    path, code = request.get("path"), request.get("code")
    sys.path[0] = os.path.dirname(path) if path else ""
    sys.argv = [path or "-c", *request["args"]]
    main = types.ModuleType("__main__")
    main.__builtins__ = __builtins__
    if path:
        main.__file__ = path
        with open(path, encoding="utf8") as file:
            code = file.read()
    sys.modules["__main__"] = main
    try:
        exec(compile(code, path or "<string>", "exec"), main.__dict__)
        return 0
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        # as the interpreter does
        traceback.print_exc()
        return 1


def fork(request: dict) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        redirect(request)
        status = run(request)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def ended(running: dict) -> None:
    for child, number in list(running.items()):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == 0:
            continue
        del running[child]
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"id": number, "status": None if code < 0 else code}), flush=True)


def serve() -> None:
    running: dict = {}
    rest = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.01 if running else None)
        if readable:
            read = os.read(0, 1 << 20)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                request = json.loads(line)
                running[fork(request)] = request["id"]
        ended(running)


if __name__ == "__main__":
    preload()
    serve()
