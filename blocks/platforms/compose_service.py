"""A service as `docker compose config` writes it, in the engine's words. What is not known here is refused.

Keys: the Compose Specification, 05-services.md and deploy.md. Words: the Engine API, ContainerCreate.
"""

import re
from collections.abc import Callable
from typing import Any

from blocks.errors import RefusedByPlatform
from blocks.platforms.docker_description import Description

Fields = dict[str, Any]

_CONFIG = {
    "command": "Cmd",
    "domainname": "Domainname",
    "entrypoint": "Entrypoint",
    "hostname": "Hostname",
    "stdin_open": "OpenStdin",
    "stop_signal": "StopSignal",
    "tty": "Tty",
    "user": "User",
    "working_dir": "WorkingDir",
}
_HOST = {
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "cgroup": "CgroupnsMode",
    "cgroup_parent": "CgroupParent",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_shares": "CpuShares",
    "cpuset": "CpusetCpus",
    "device_cgroup_rules": "DeviceCgroupRules",
    "dns": "Dns",
    "dns_opt": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
    "init": "Init",
    "ipc": "IpcMode",
    "mem_swappiness": "MemorySwappiness",
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "pid": "PidMode",
    "pids_limit": "PidsLimit",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
    "runtime": "Runtime",
    "security_opt": "SecurityOpt",
    "storage_opt": "StorageOpt",
    "sysctls": "Sysctls",
    "userns_mode": "UsernsMode",
    "uts": "UTSMode",
}
_BYTES = {
    "mem_limit": "Memory",
    "mem_reservation": "MemoryReservation",
    "memswap_limit": "MemorySwap",
    "shm_size": "ShmSize",
}
_LEFT_OUT = {
    "attach": "it is about what `up` prints",
    "build": "images are those of `image`, or built of `build_from`, without its args and target",
    "container_name": "two releases run beside each other",
    "depends_on": "the project's other services are not Backstop's to start",
    "develop": "it is about `watch`",
    "expose": "the project's networks need none",
    "image": "a release is a version of the platform's `image`",
    "labels": "they lead proxies and `docker compose` itself to its containers, verified or not",
    "ports": "each container has one of the platform's `ports`, which leads to its `port`",
    "profiles": "it is about `up`",
    "pull_policy": "the platform's `pull` says it",
    "restart": "what crashes is started again, unless it was stopped",
    "scale": "the flows say how many there are",
    "stop_grace_period": "the platform's `grace_seconds` says it",
}
_LEFT_OUT_OF_DEPLOY = dict.fromkeys(
    ("endpoint_mode", "labels", "mode", "placement", "replicas", "restart_policy", "rollback_config", "update_config"),
    "it is how a swarm rolls out, which is the flows' here",
)
_NANOSECONDS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")


def describe(project: Fields, service: Fields) -> Description:
    """`project` is what the service is part of. Raises RefusedByPlatform for what cannot be done as it is written."""
    written = {key: value for key, value in service.items() if value not in (None, [], {}) and key[:2] != "x-"}
    _require_known(written)
    config: Fields = {_CONFIG[key]: value for key, value in written.items() if key in _CONFIG}
    host: Fields = {_HOST[key]: value for key, value in written.items() if key in _HOST}
    host |= {_BYTES[key]: int(value) for key, value in written.items() if key in _BYTES}
    left_out = {key: _LEFT_OUT[key] for key in written if key in _LEFT_OUT}
    if "healthcheck" in written:
        config["Healthcheck"] = _health_check(written["healthcheck"])
    for key, translate in _TRANSLATED.items():
        if key in written:
            host |= translate(written[key])
    if mounts := _mounts(project, written):
        host["Mounts"] = mounts
    if "deploy" in written:
        host |= _limits(written["deploy"], left_out)
    networks = _networks(project, written, left_out)
    _require_alone(host)
    return Description(
        config=config,
        host={**host, "NetworkMode": networks[0]},
        networks=networks[1:],
        environment={name: value for name, value in written.get("environment", {}).items() if value is not None},
        left_out=left_out,
    )


def _refused(what: str) -> RefusedByPlatform:
    return RefusedByPlatform(
        f"The compose service cannot be run as it is described: {what}.",
        "Another file of `files` may override it, with `!reset null` for instance. Nothing was changed.",
    )


def _only(fields: Fields, known: tuple[str, ...], where: str) -> Fields:
    """Without what says nothing. Raises RefusedByPlatform for a key that is not known."""
    said = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    if strange := sorted(said.keys() - set(known)):
        raise _refused(f"{where} has {', '.join(strange)}")
    return said


def _require_known(written: Fields) -> None:
    elsewhere = {"configs", "deploy", "environment", "healthcheck", "network_mode", "networks", "secrets", "volumes"}
    known = {*_CONFIG, *_HOST, *_BYTES, *_LEFT_OUT, *_TRANSLATED, *elsewhere}
    if strange := sorted(key for key, value in written.items() if key not in known and value is not False):
        raise _refused(f"{', '.join(strange)} is not known here")


def _require_alone(host: Fields) -> None:
    """Which container another one of the project has would be found out by `docker compose` alone."""
    for word in ("IpcMode", "PidMode"):
        if str(host.get(word, "")).startswith(("service:", "container:")):
            raise _refused(f"it shares {host[word]}")


def _networks(project: Fields, written: Fields, left_out: dict[str, str]) -> list[str]:
    """Their names at the engine; the first is the one that a container is made in."""
    if mode := written.get("network_mode"):
        if mode == "none" or ":" in mode:
            raise _refused(f"its network_mode is {mode}, where nobody reaches it by a port")
        return [mode]
    joined: dict[str, Fields] = {
        name: _only(how or {}, ("aliases", "gw_priority", "priority"), f"network {name}")
        for name, how in written.get("networks", {"default": {}}).items()
    }
    if any("aliases" in how for how in joined.values()):
        left_out["networks.aliases"] = "they would lead to releases that are not verified: Caddy does not"
    by_priority = sorted(joined, key=lambda name: (-int(joined[name].get("priority", 0)), name))
    return [project["networks"][name]["name"] for name in by_priority]


def _mounts(project: Fields, written: Fields) -> list[Fields]:
    mounts = [_mount(project, volume) for volume in written.get("volumes", [])]
    for kind in ("secrets", "configs"):
        for used in written.get(kind, []):
            source = project[kind][used["source"]]
            if "file" not in source:
                raise _refused(f"{kind} {used['source']} is no file")
            default = f"/run/secrets/{used['source']}" if kind == "secrets" else f"/{used['source']}"
            target = used.get("target") or default
            mounts.append({"Type": "bind", "Source": source["file"], "Target": target, "ReadOnly": True})
    return mounts


def _mount(project: Fields, volume: Fields) -> Fields:
    known = ("type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs")
    said = _only(volume, known, f"volume {volume.get('target')}")
    where = f"volume {said['target']}"
    mount = {"Type": said["type"], "Target": said["target"], "ReadOnly": said.get("read_only", False)}
    match said["type"]:
        case "bind":
            options = _only(said.get("bind", {}), ("create_host_path", "propagation"), where)
            mount |= {"Source": said["source"], "BindOptions": {"Propagation": options.get("propagation", "")}}
        case "volume":
            options = _only(said.get("volume", {}), ("nocopy",), where)
            mount |= {"VolumeOptions": {"NoCopy": options.get("nocopy", False)}}
            if "source" in said:
                mount["Source"] = project["volumes"][said["source"]]["name"]
        case "tmpfs":
            options = _only(said.get("tmpfs", {}), ("size", "mode"), where)
            sizes = {"SizeBytes": int(options.get("size", 0)), "Mode": options.get("mode", 0)}
            mount |= {"TmpfsOptions": {name: value for name, value in sizes.items() if value}}
        case other:
            raise _refused(f"{where} is of the type {other}")
    return mount


def _limits(deploy: Fields, left_out: dict[str, str]) -> Fields:
    said = _only(deploy, ("resources", *_LEFT_OUT_OF_DEPLOY), "deploy")
    left_out |= {f"deploy.{key}": why for key, why in _LEFT_OUT_OF_DEPLOY.items() if key in said}
    resources = _only(said.get("resources", {}), ("limits", "reservations"), "deploy.resources")
    limits = _only(resources.get("limits", {}), ("cpus", "memory", "pids"), "deploy.resources.limits")
    reserved = _only(resources.get("reservations", {}), ("cpus", "memory"), "deploy.resources.reservations")
    if "cpus" in reserved:
        left_out["deploy.resources.reservations.cpus"] = "an engine by itself reserves none"
    found: Fields = {}
    if "cpus" in limits:
        found |= _cpus(limits["cpus"])
    if "memory" in limits:
        found["Memory"] = int(limits["memory"])
    if "pids" in limits:
        found["PidsLimit"] = int(limits["pids"])
    if "memory" in reserved:
        found["MemoryReservation"] = int(reserved["memory"])
    return found


def _health_check(check: Fields) -> Fields:
    known = ("disable", "test", "interval", "timeout", "retries", "start_period", "start_interval")
    said = _only(check, known, "healthcheck")
    if said.get("disable"):
        return {"Test": ["NONE"]}
    words = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
    words["start_interval"] = "StartInterval"
    found: Fields = {word: _nanoseconds(said[key]) for key, word in words.items() if key in said}
    return found | {word: said[key] for key, word in {"test": "Test", "retries": "Retries"}.items() if key in said}


def _nanoseconds(duration: str) -> int:
    """Of one that Go writes, as 1m30s."""
    return round(sum(float(count) * _NANOSECONDS[unit] for count, unit in _DURATION.findall(duration)))


def _cpus(cpus: float | str) -> Fields:
    return {"NanoCpus": round(float(cpus) * 10**9)}


def _devices(devices: list[Fields | str]) -> Fields:
    """Older versions write them in one word."""
    found = []
    for device in devices:
        if isinstance(device, str):
            source, target, permissions = device.split(":")
        else:
            source, target, permissions = device["source"], device["target"], device["permissions"]
        found.append({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions})
    return {"Devices": found}


def _extra_hosts(hosts: list[str]) -> Fields:
    return {"ExtraHosts": [":".join(re.split("[=:]", host, maxsplit=1)) for host in hosts]}


def _logging(logging: Fields) -> Fields:
    return {"LogConfig": {"Type": logging.get("driver", ""), "Config": logging.get("options") or {}}}


def _tmpfs(places: list[str]) -> Fields:
    return {"Tmpfs": {path: options for path, _, options in (place.partition(":") for place in places)}}


def _ulimits(limits: Fields) -> Fields:
    """Where one is 0, nothing is written of it."""
    both = {name: one if isinstance(one, dict) else {"soft": one, "hard": one} for name, one in limits.items()}
    found = [{"Name": name, "Soft": one.get("soft", 0), "Hard": one.get("hard", 0)} for name, one in both.items()]
    return {"Ulimits": found}


_TRANSLATED: dict[str, Callable[[Any], Fields]] = {
    "cpus": _cpus,
    "devices": _devices,
    "extra_hosts": _extra_hosts,
    "logging": _logging,
    "tmpfs": _tmpfs,
    "ulimits": _ulimits,
}
