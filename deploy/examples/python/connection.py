"""What every client of a coordinator needs, in any language: a connection by mutual TLS, and failures one can act on."""

import pathlib
import sys
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def add_connection_flags(parser):
    """The flags by which all examples find a coordinator."""
    parser.add_argument("--coordinator", default="localhost:7077", metavar="HOST:PORT")
    parser.add_argument("--ca", metavar="FILE", help="the authority that signed the coordinator's certificate")
    parser.add_argument("--cert", metavar="FILE", help="your certificate; its organizational unit (OU) is your role")
    parser.add_argument("--key", metavar="FILE", help="the key of --cert")
    parser.add_argument("--insecure", action="store_true", help="no certificates: for a coordinator on loopback")


def connect(arguments):
    """A channel to the coordinator. It connects when it is first used, and again whenever the connection broke."""
    # A connection that died silently (a firewall forgot it, a machine is gone) is noticed after this time.
    options = [("grpc.keepalive_time_ms", 15_000), ("grpc.keepalive_timeout_ms", 5_000)]
    # Jobs of keyspaces with very many tables are longer than gRPC's default of 4 MiB.
    options.append(("grpc.max_receive_message_length", 64 << 20))
    if arguments.insecure:
        return grpc.insecure_channel(arguments.coordinator, options)
    missing = [flag for flag in ("ca", "cert", "key") if getattr(arguments, flag) is None]
    if missing:
        print(f"give --{' and --'.join(missing)}, or --insecure for a coordinator without certificates", file=sys.stderr)
        sys.exit(2)
    # The coordinator's certificate must be made for the HOST above, and signed by the authority in --ca. It wants to see
    # one of ours that the same authority signed: this is both login and role. There is no password.
    credentials = grpc.ssl_channel_credentials(
        root_certificates=pathlib.Path(arguments.ca).read_bytes(),
        private_key=pathlib.Path(arguments.key).read_bytes(),
        certificate_chain=pathlib.Path(arguments.cert).read_bytes(),
    )
    return grpc.secure_channel(arguments.coordinator, credentials, options)


class Failure(Exception):
    """Why a call failed: `kind` for the program to decide by, the message for a person, and when to try again, if at all."""

    def __init__(self, error):
        super().__init__(error.details())
        self.code = error.code()
        # What the coordinator itself said has google.rpc.ErrorInfo with our domain; the rest comes from gRPC, or from
        # something on the way.
        self.kind = None
        self.retry_after_s = None
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info) and info.domain == "ringvault":
                self.kind = info.reason  # the name of a common_pb2.ErrorKind
            elif detail.Unpack(retry):
                self.retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        if self.kind is None and self.code is grpc.StatusCode.UNAVAILABLE:
            self.retry_after_s = 1.0  # nobody answered: the coordinator may be restarting

    def __str__(self):
        text = f"{self.kind or 'no answer from the coordinator'} ({self.code.name}): {super().__str__()}"
        if self.kind is None and self.code is grpc.StatusCode.UNAVAILABLE:
            text += "\nCheck the address, --ca, --cert and --key; the coordinator's log says whom it refused and why."
        return text


def call(method, request, attempts=5):
    """One call, made again as long as the coordinator says that this may help. All calls of Ringvault may be repeated
    without harm; a submission needs an idempotency key for that."""
    for attempt in range(1, attempts + 1):
        try:
            return method(request, timeout=30)
        except grpc.RpcError as error:
            failure = Failure(error)
            if failure.retry_after_s is None or attempt == attempts:
                raise failure from None
            time.sleep(failure.retry_after_s)
