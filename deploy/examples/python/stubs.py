"""The messages and calls of a coordinator in Python, made from proto/ when this module is imported, so that nothing
generated lies around. A program of your own makes them once, when it is built:

    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/ringvault/v1/*.proto
"""

import atexit
import os
import pathlib
import shutil
import sys
import tempfile

from grpc_tools import protoc

PROTO = pathlib.Path(os.environ.get("RINGVAULT_PROTO") or pathlib.Path(__file__).resolve().parents[3] / "proto")


def make_stubs():
    """Compiles the .proto files into a scratch directory that Python imports from; it goes when the program ends."""
    scratch = tempfile.mkdtemp(prefix="ringvault-stubs-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    sources = sorted(str(path) for path in PROTO.glob("ringvault/v1/*.proto"))
    options = [f"-I{PROTO}", f"--python_out={scratch}", f"--grpc_python_out={scratch}"]
    if not sources or protoc.main(["protoc", *options, *sources]) != 0:
        sys.exit(f"no stubs could be made from {PROTO}: set RINGVAULT_PROTO to the directory proto of Ringvault")
    sys.path.insert(0, scratch)


make_stubs()
from ringvault.v1 import admin_pb2, admin_pb2_grpc, common_pb2  # noqa: E402  (they are there only now)
