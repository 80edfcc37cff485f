"""What a plugin in Python needs to speak to Reprieve, protocol 1: docs/plugin-protocol.md, in code.

Copy it into your plugin together with action_pb2.py, which protoc makes of action.proto. It needs the packages
grpcio, protobuf and cryptography, but only to serve: without them an action can still be tested.
"""

import base64
import dataclasses
import datetime
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from concurrent import futures
from typing import Any, Callable, Optional

COOKIE = ("REPRIEVE_PLUGIN", "reprieve.action.v1")
PARENT = os.getppid()
HOSTED = os.environ.get(COOKIE[0]) == COOKIE[1]
MAX_RECEIVE = 16 << 20  # what a plugin must be able to receive, in bytes
MAX_OUTPUT = 64 << 10
MAX_OUTCOME = 512 << 10
REPLY_ROOM = (4 << 20) - MAX_OUTCOME - (256 << 10)  # of a reply, until the rest is handed back

if HOSTED:  # only the handshake may be on stdout: whatever else is printed goes to the log
    HANDSHAKE = os.dup(1)
    os.dup2(2, 1)


# What an action gets.


@dataclasses.dataclass
class Contact:
    """The facts that the action reads; all others are empty."""

    created_at: Optional[datetime.datetime] = None
    email: str = ""
    phone: str = ""
    external_id: str = ""
    tags: list = dataclasses.field(default_factory=list)
    lists: list = dataclasses.field(default_factory=list)  # of (list id, status, since)
    fields: dict = dataclasses.field(default_factory=dict)  # str, float, bool, datetime or list of str
    dnd: dict = dataclasses.field(default_factory=dict)  # do-not-disturb by channel


@dataclasses.dataclass
class Target:
    """A contact that effects can name, by its index in call.targets."""

    id: str = ""
    state: str = "live"  # live, deleted or purged
    epoch: int = 0
    contact: Contact = dataclasses.field(default_factory=Contact)
    tombstone: Any = None  # the protocol's message, of a deleted contact whose action reads it


@dataclasses.dataclass
class Call:
    """One item to decide."""

    params: dict = dataclasses.field(default_factory=dict)
    targets: list = dataclasses.field(default_factory=list)
    key: str = ""  # the idempotency key: the same on every attempt at the same step
    attempt: int = 1
    now: Optional[datetime.datetime] = None  # the only clock to use
    dry_run: bool = False  # nothing will be committed: do nothing to the outside world
    run: Any = None  # the protocol's message: id, workflow, step, started_at
    cancelled: Callable[[], bool] = lambda: False  # whether the host has given up: worth asking in long work

    @property
    def target(self):
        """The contact of the run."""
        return self.targets[0] if self.targets else Target(state="")


# What an action gives back: one of these. Texts hold no personal data, they are kept in journals.


@dataclasses.dataclass
class Done:
    """Decided: the host commits all effects in their order, or none. Later steps see the output."""

    effects: list = dataclasses.field(default_factory=list)
    output: Any = None


@dataclasses.dataclass
class Skip:
    """Nothing was to be done."""

    reason: str


@dataclasses.dataclass
class Retry:
    """To be tried again, not before `after` seconds have passed."""

    after: float
    reason: str


@dataclasses.dataclass
class Fail:
    """Trying again would not help. A code is up to 64 of a-z, 0-9, dot and underscore."""

    code: str
    message: str
    hint: str = ""


def effect(kind, target=0, **members):
    """Makes any effect: its kind and members are called as in the protocol, effect("add_tag", tag="VIP")."""
    return kind, dict(members, target=target)


def set_field(target, name, value):
    """Sets a field to a str, a number, a bool, a datetime or a list of str; None removes it."""
    return effect("set_field", target, name=name, value=_value(value))


@dataclasses.dataclass
class Action:
    """One thing that a plugin can decide. What it does not declare it does not get."""

    name: str
    summary: str
    run: Callable[[Call], Any]
    reads: list = dataclasses.field(default_factory=list)
    effects: list = dataclasses.field(default_factory=list)
    params: dict = dataclasses.field(default_factory=dict)  # JSON Schema: properties, required
    external: bool = False
    idempotent: bool = False
    network: list = dataclasses.field(default_factory=list)
    timeout: float = 0  # seconds for a call of up to 1000 items; 0 is 30

    @property
    def schema(self):
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                "properties": {}, "additionalProperties": False, **self.params}


def log(level, message, **fields):
    """Writes a line to the host's log: debug, info, warn or error. Put no personal data in it."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    line = json.dumps({"@level": level, "@message": message, "@timestamp": now, **fields}, default=repr) + "\n"
    os.write(2, line.encode("utf-8", "replace"))


def decide(action, call):
    """Runs one item. Bad parameters never reach the action, and an exception fails that item and no other."""
    if flaw := _flaw(action.schema, call.params, "params"):
        return Fail("invalid_params", flaw)
    try:
        return action.run(call)
    except Exception as e:  # its text may hold anything, a contact too: only its kind is told
        stack = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(e.__traceback__)]
        log("error", "the action raised an exception", kind=type(e).__name__, stack=stack)
        return Fail("panic", f"the action raised {type(e).__name__}", "the plugin's log has the stack")


TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict}


def _flaw(schema, value, where):
    """Holds a value against the part of JSON Schema that parameters need, and says what is wrong, without values."""
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or kind != "boolean" and isinstance(value, bool)):
        return f"{where} is not of the type {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is not one of {schema['enum']}"
    if isinstance(value, list) and "items" in schema:
        return next(filter(None, (_flaw(schema["items"], v, f"{where}[{i}]") for i, v in enumerate(value))), None)
    if not isinstance(value, dict):
        return None
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    if missing := [name for name in schema.get("required", []) if name not in value]:
        return f"{where} lacks {missing[0]}"
    for name, v in value.items():
        if name not in known and more is False:
            return f"{where} has a name that the schema does not"
        if name in known or isinstance(more, dict):
            if wrong := _flaw(known.get(name, more), v, f"{where}.{name if name in known else '*'}"):
                return wrong
    return None


# The wire.


def _instant(nanos):
    return datetime.datetime.fromtimestamp(nanos / 1e9, datetime.timezone.utc) if nanos else None


def _value(v):
    if v is None:
        return {}
    if isinstance(v, bool):
        return {"bool": v}
    if isinstance(v, (int, float)):
        return {"number": v}
    if isinstance(v, datetime.datetime):
        return {"instant": int(v.timestamp()) * 10**9 + v.microsecond * 1000}
    if isinstance(v, str):
        return {"text": v}
    return {"list": {"items": list(v)}}


def _plain(v):
    kind = v.WhichOneof("kind")
    if kind == "instant":
        return datetime.datetime.fromtimestamp(v.instant / 1e9, datetime.timezone.utc)
    return list(v.list.items) if kind == "list" else getattr(v, kind) if kind else None


def _target(w):
    c = w.contact
    return Target(
        id=w.contact_id, state={1: "live", 2: "deleted", 3: "purged"}.get(w.state, ""), epoch=w.epoch,
        tombstone=w.tombstone if w.HasField("tombstone") else None,
        contact=Contact(
            created_at=_instant(c.created_at), email=c.email, phone=c.phone, external_id=c.external_id,
            tags=list(c.tags), lists=[(m.list_id, m.status, _instant(m.since)) for m in c.lists],
            fields={f.name: _plain(f.value) for f in c.fields}, dnd={d.name: d.on for d in c.dnd},
        ),
    )


class _Server:
    """The service ActionPlugin."""

    def __init__(self, grpc, pb, name, version, actions, configure):
        self.grpc, self.pb, self.configure = grpc, pb, configure
        self.actions = {a.name: a for a in actions}
        self.description = pb.DescribeResponse(name=name, version=version, actions=[
            pb.ActionSpec(
                action=a.name, summary=a.summary, params_schema_json=json.dumps(a.schema).encode(),
                reads=sorted(a.reads), effects=sorted(a.effects), external=a.external, idempotent=a.idempotent,
                network=sorted(a.network), timeout_nanos=int(a.timeout * 1e9),
            ) for a in sorted(actions, key=lambda a: a.name)])

    def describe(self, request, context):
        return self.description

    def set(self, request, context):
        try:
            if self.configure:
                self.configure(json.loads(request.config_json or b"{}"))
        except ValueError as e:  # its text is for the operator
            context.abort(self.grpc.StatusCode.FAILED_PRECONDITION, str(e))
        return self.pb.ConfigureResponse()

    def execute(self, request, context):
        """Decides the items in order. What there is no time or no room for is handed back unrun."""
        action = self.actions.get(request.action)
        if action is None:
            context.abort(self.grpc.StatusCode.NOT_FOUND, "there is no such action in this plugin")
        reply, began, size = self.pb.ExecuteResponse(), time.monotonic(), 0
        for item in request.items:
            if not context.is_active():
                context.abort(self.grpc.StatusCode.CANCELLED, "the host has given up")
            left = context.time_remaining()
            late = left is not None and time.monotonic() - began > left
            if reply.outcomes and (late or size > REPLY_ROOM):
                why = "the call left no time for it" if late else "the reply is full"
                outcome = self.pb.Outcome(retry={"reason": why, "unrun": True})
            else:
                outcome = self.answer(action, request, item, context)
            outcome.idempotency_key = item.idempotency_key
            size += outcome.ByteSize()
            reply.outcomes.append(outcome)
        return reply

    def call(self, request, item, params, context):
        return Call(
            params=params, targets=[_target(t) for t in item.targets],
            key=item.idempotency_key, attempt=item.attempt, now=_instant(request.now), dry_run=request.dry_run,
            run=item.run, cancelled=lambda: not context.is_active(),
        )

    def answer(self, action, request, item, context):
        """One outcome that cannot be sent must not cost the whole batch its reply."""
        try:
            params = json.loads(item.params_json or b"{}")
        except ValueError:
            return self.pb.Outcome(fail={"code": "invalid_params", "message": "params is no JSON"})
        try:
            outcome = self.outcome(decide(action, self.call(request, item, params, context)))
        except (TypeError, ValueError, AttributeError):
            return self.pb.Outcome(fail={"code": "bad_outcome", "message": "the action's answer cannot be sent"})
        if outcome.ByteSize() > MAX_OUTCOME or len(outcome.done.output_json) > MAX_OUTPUT:
            return self.pb.Outcome(fail={"code": "too_large", "message": "the outcome is too large"})
        return outcome

    def outcome(self, r):
        if isinstance(r, Done):
            effects = [self.pb.Effect(**{kind: members}) for kind, members in r.effects]
            output = b"" if r.output is None else json.dumps(r.output, allow_nan=False).encode()
            return self.pb.Outcome(done={"effects": effects, "output_json": output})
        if isinstance(r, Skip):
            return self.pb.Outcome(skip={"reason": r.reason})
        if isinstance(r, Retry):
            return self.pb.Outcome(retry={"after_nanos": int(r.after * 1e9), "reason": r.reason})
        return self.pb.Outcome(fail={"code": r.code, "message": r.message, "hint": r.hint})


def _certificate():
    """Makes this process's own certificate, which the handshake tells the host."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1)).not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return cert.public_bytes(serialization.Encoding.DER), cert.public_bytes(pem), key.private_bytes(
        pem, form, serialization.NoEncryption())


def _outlive():
    """Ends the process once it has another parent: a host that was killed leaves its plugins running."""
    while os.getppid() == PARENT:
        time.sleep(1)
    os._exit(3)


def serve(name, version, *actions, configure=None):
    """Runs the plugin until the host ends it. configure gets what the operator has set for the plugin, an object;
    a ValueError of it keeps the plugin from starting, and the operator reads its text."""
    if not HOSTED:
        _introduce(name, version, actions)
        sys.exit(2)
    threading.Thread(target=_outlive, daemon=True).start()
    try:
        import action_pb2
        import cryptography  # noqa: F401  needed further down: whether it is there is told now
        import grpc
    except ImportError as e:
        log("error", f"the Python package {e.name} is missing: grpcio, protobuf and cryptography are needed")
        sys.exit(1)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # At most two calls are in flight; the other threads are for what must be answered meanwhile.
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", MAX_RECEIVE)])
    plugin = _Server(grpc, action_pb2, name, version, actions, configure)
    server.add_generic_rpc_handlers(_services(grpc, action_pb2, plugin, stop))
    path = tempfile.mktemp("", "plugin", os.environ.get("PLUGIN_UNIX_SOCKET_DIR"))
    der, cert, key = _certificate()
    host = os.environ["PLUGIN_CLIENT_CERT"].encode()
    server.add_secure_port("unix:" + path, grpc.ssl_server_credentials([(key, cert)], host, require_client_auth=True))
    server.start()
    os.write(HANDSHAKE, f"1|1|unix|{path}|grpc|{base64.b64encode(der).decode().rstrip('=')}\n".encode())
    stop.wait()
    server.stop(0.2).wait(1)
    os._exit(0)


def _services(grpc, pb, plugin, stop):
    def unary(run, request, response):
        return grpc.unary_unary_rpc_method_handler(run, request.FromString, response.SerializeToString)

    def health(request, context):
        return b"\x08\x01"  # HealthCheckResponse{status: SERVING}, whatever service is asked for

    def shutdown(request, context):
        stop.set()
        return b""  # an empty message

    return (
        grpc.method_handlers_generic_handler("reprieve.action.v1.ActionPlugin", {
            "Describe": unary(plugin.describe, pb.DescribeRequest, pb.DescribeResponse),
            "Configure": unary(plugin.set, pb.ConfigureRequest, pb.ConfigureResponse),
            "Execute": unary(plugin.execute, pb.ExecuteRequest, pb.ExecuteResponse),
        }),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(health)}),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {
            "Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}),
    )


def _introduce(name, version, actions):
    print(f"{name} {version} is a plugin of Reprieve, protocol 1. The host starts it, not you:\n"
          "run `reprieve plugin install FOLDER`. Its actions:", file=sys.stderr)
    for a in actions:
        print(f"\n{a.name}  {a.summary}\n  reads:   {a.reads}\n  effects: {a.effects}\n"
              f"  params:  {json.dumps(a.params)}", file=sys.stderr)
