"""Asks a coordinator without any .proto file: what it serves and what its messages look like it tells by reflection, as it
does to grpcurl. A certificate with the role `viewer` is enough.

    explore.py --ca ca.pem --cert viewer.pem --key viewer.key                            what it serves
    explore.py … ringvault.v1.Admin/ListWorkers                                          a call
    explore.py … ringvault.v1.Admin/GetJob '{"jobId": "j4f6…"}'                          with a request, as JSON

The same by grpcurl:

    grpcurl -cacert ca.pem -cert viewer.pem -key viewer.key -d '{"jobId": "j4f6…"}' localhost:7077 ringvault.v1.Admin/GetJob
"""

import argparse
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from connection import Failure, add_connection_flags, connect


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_connection_flags(parser)
    parser.add_argument("method", nargs="?", metavar="SERVICE/METHOD")
    parser.add_argument("request", nargs="?", default="{}", metavar="JSON")
    arguments = parser.parse_args()
    with connect(arguments) as channel:
        try:
            told = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(told)  # asks the coordinator for whatever it does not know yet
            if arguments.method is None:
                return show_services(told, pool)
            return make_call(channel, pool, arguments.method, arguments.request)
        except grpc.RpcError as error:
            print(f"refused: {Failure(error)}", file=sys.stderr)
            return 1


def show_services(told, pool):
    for name in told.get_services():
        print(name)
        for method in pool.FindServiceByName(name).methods:
            streams = "stream " if method.server_streaming else ""
            print(f"  {method.name}({method.input_type.full_name}) -> {streams}{method.output_type.full_name}")
    return 0


def make_call(channel, pool, path, request):
    service, _, name = path.partition("/")
    method = pool.FindServiceByName(service).FindMethodByName(name)
    request_type = message_factory.GetMessageClass(method.input_type)
    answer_type = message_factory.GetMessageClass(method.output_type)
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    make = kind(f"/{path}", request_type.SerializeToString, answer_type.FromString)
    answers = make(json_format.Parse(request, request_type()), timeout=30)
    for answer in answers if method.server_streaming else [answers]:
        print(json_format.MessageToJson(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
