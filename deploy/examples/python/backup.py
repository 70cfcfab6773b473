"""Submits a backup to a coordinator, watches it, cancels it: what a scheduler or an operator's tool does.

    backup.py --ca ca.pem --cert operator.pem --key operator.key submit shop main --cluster prod
    backup.py --ca ca.pem --cert viewer.pem   --key viewer.key   watch  JOB
    backup.py --ca ca.pem --cert operator.pem --key operator.key cancel JOB

`shop` is a keyspace, `prod` a cluster and `main` a repository as the settings of the workers and of the coordinator name
them: no secret of a database or of a store passes here.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 cancelled.
"""

import argparse
import datetime
import sys
import time

import grpc

from connection import Failure, add_connection_flags, call, connect
from stubs import admin_pb2, admin_pb2_grpc, common_pb2

STATES = admin_pb2.JobState
ENDED = {STATES.JOB_STATE_DONE, STATES.JOB_STATE_FAILED, STATES.JOB_STATE_CANCELLED, STATES.JOB_STATE_INTERRUPTED}


def submit(admin, arguments):
    """Role `operator` (or `admin`). The same key names the same job: submitting twice starts one backup, and submitting
    again after a failure, within 24 hours, goes on from what was stored."""
    key = arguments.idempotency_key or f"{arguments.keyspace}-{datetime.date.today()}"
    backup = admin_pb2.BackupSpec(
        keyspaces=[arguments.keyspace],
        cluster=arguments.cluster,
        repository=arguments.repository,
        pace=common_pb2.PACE_POLITE,
        rows_per_second_max=arguments.rows_per_second,  # of all workers together; 0: no limit
    )
    spec = admin_pb2.JobSpec(backup=backup, priority=admin_pb2.PRIORITY_NORMAL)
    answer = call(admin.Submit, admin_pb2.SubmitRequest(idempotency_key=key, spec=spec))
    again = " (an earlier one goes on)" if answer.resumed else ""
    print(f"job {answer.job.job_id}, key {key}{again}", flush=True)
    return answer.job if arguments.detach else watch(admin, answer.job.job_id)


def watch(admin, job_id):
    """Role `viewer`. The stream tells the job as it is now, then again after each change, and ends behind its end. A broken
    one (the coordinator restarted, a connection broke) is opened again: its first message tells what was missed."""
    call(admin.GetJob, admin_pb2.GetJobRequest(job_id=job_id))  # tells early that there is no such job
    shown, broken = None, 0
    while True:
        try:
            for answer in admin.WatchJob(admin_pb2.WatchJobRequest(job_id=job_id)):
                broken = 0
                line = progress(answer.job)
                if line != shown:
                    print(line, flush=True)
                shown = line
                if answer.job.state in ENDED:
                    return answer.job
        except grpc.RpcError as error:
            failure = Failure(error)
            broken += 1
            if failure.retry_after_s is None or broken > 60:
                raise failure from None
            if broken == 1:
                print(f"not connected, trying again: {failure}", file=sys.stderr)
            time.sleep(failure.retry_after_s)


def progress(job):
    """One line about a job: percentage by bytes, which are an estimate while a backup runs."""
    done = sum(table.encoded_bytes for table in job.tables)
    total = max(done, sum(table.bytes_estimated for table in job.tables))
    rows = sum(table.rows for table in job.tables)
    rate = sum(table.rows_per_second for table in job.tables)
    tables = sum(table.state == admin_pb2.TABLE_STATE_DONE for table in job.tables)
    percent = 100 if job.state == STATES.JOB_STATE_DONE else 100 * done // total if total else 0
    state = STATES.Name(job.state).removeprefix("JOB_STATE_")
    return f"{state} {percent} %: {rows} rows, {rate} rows/s, {tables} of {len(job.tables)} tables; {job.stage}"


def cancel(admin, job_id):
    """Role `operator`. What is stored stays; the next backup of the keyspace uses it. A job that has ended stays as it is."""
    return call(admin.CancelJob, admin_pb2.CancelJobRequest(job_id=job_id)).job


def outcome(job):
    """Says how a job stands; the exit code."""
    if job.state == STATES.JOB_STATE_DONE:
        rows = sum(table.rows for table in job.tables)
        print(f"done: backup {job.backup_id} of {rows} rows")
        for warning in job.warnings:
            print(f"note: {warning}")
    elif job.state == STATES.JOB_STATE_FAILED:
        print(f"failed: {common_pb2.ErrorKind.Name(job.failure.kind)}: {job.failure.message}", file=sys.stderr)
        return 1
    elif job.state == STATES.JOB_STATE_CANCELLED:
        print("cancelled")
        return 3
    elif job.state == STATES.JOB_STATE_INTERRUPTED:
        print("interrupted; the same submission goes on", file=sys.stderr)
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_connection_flags(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("submit", help="start a backup and watch it")
    command.add_argument("keyspace")
    command.add_argument("repository")
    command.add_argument("--cluster", required=True)
    command.add_argument("--idempotency-key", help="[default: keyspace and today's date]")
    command.add_argument("--rows-per-second", type=int, default=0, help="[default: no limit]")
    command.add_argument("--detach", action="store_true", help="don't watch it")
    commands.add_parser("watch", help="follow a job until it has ended").add_argument("job")
    commands.add_parser("cancel", help="stop a job").add_argument("job")
    arguments = parser.parse_args()

    with connect(arguments) as channel:
        admin = admin_pb2_grpc.AdminStub(channel)
        try:
            if arguments.command == "submit":
                job = submit(admin, arguments)
            elif arguments.command == "watch":
                job = watch(admin, arguments.job)
            else:
                job = cancel(admin, arguments.job)
        except Failure as failure:
            print(f"refused: {failure}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("not watched any more; the job goes on without you", file=sys.stderr)
            return 1
    return outcome(job)


if __name__ == "__main__":
    sys.exit(main())
