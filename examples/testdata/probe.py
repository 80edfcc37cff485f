"""A plugin that does what its parameter says, well or badly: what the protocol's Python side is tried with."""

import os
import sys
import time

from reprieve import Action, Done, Fail, Retry, Skip, effect, serve, set_field


def echo(call):
    c, t = call.target.contact, call.target
    return Done([effect("add_tag", tag=call.params["text"]), set_field(0, "seen", ["a", call.params["text"]])], output={
        "text": call.params["text"], "email": c.email, "tags": c.tags, "fields": c.fields, "dnd": c.dnd, "state": t.state,
        "epoch": int(t.epoch), "key": call.key, "attempt": call.attempt, "now": call.now.timestamp(), "dry": call.dry_run,
        "run": call.run.id, "deleted_by": t.tombstone.by if t.tombstone else ""})


def noise(call):
    print("printed by the plugin", flush=True)
    os.write(1, b"x" * (1 << 20) + b"\n")
    os.write(2, b'{"@message": 5}\n' + b"y" * (1 << 20) + b"\xff\n")
    return Done()


def asleep(call):
    time.sleep(0.25)
    return Done()


def boom(call):
    raise KeyError("canary@example.com")


MODES = {
    "echo": echo,
    "noise": noise,
    "asleep": asleep,
    "raise": boom,
    "skip": lambda call: Skip("nothing to do"),
    "retry": lambda call: Retry(1.5, "later"),
    "fail": lambda call: Fail("no_such_thing", "it is not there", "look elsewhere"),
    "pid": lambda call: Done(output=os.getpid()),
    "env": lambda call: Done(output=sorted(os.environ)),
    "big": lambda call: Done(output="x" * 60000),
    "too big": lambda call: Done(output="x" * 70000),
    "not text": lambda call: Skip("\ud800"),
    "nothing": lambda call: None,
    "undeclared": lambda call: Done([effect("purge_contact")]),
    "no such target": lambda call: Done([effect("add_tag", 7, tag="x")]),
}


def configure(config):
    if config.get("refuse"):
        raise ValueError("it is set to refuse")


print("printed before the handshake", flush=True)
serve("probe", "0.1.0", Action(
    name="probe.do", summary="Does what it is told.", run=lambda call: MODES[call.params["mode"]](call),
    reads=["email", "tags", "fields", "dnd", "tombstone"], effects=["tag.add", "field.set"], timeout=4,
    params={"required": ["mode"], "properties": {
        "mode": {"type": "string", "enum": list(MODES)}, "text": {"type": "string"}, "n": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "number"}},
        "map": {"type": "object", "additionalProperties": {"type": "boolean"}}}},
), configure=configure)
