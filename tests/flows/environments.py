"""Environments of these tests: production with shorter windows, each with one thing different."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from deployments.apply import ROOT
from tests.flows.mounted import CACHE, CACHE_USERS, ROTATE_CACHE

PRODUCTION = ROOT / "deployments" / "environments" / "shop-production.yaml"

Parts = dict[str, Any]

PATIENT_WITH_A_BUSY_MACHINE = {"minimum_samples": 5, "p95_seconds": 20, "p95_floor_seconds": 10, "probes": ["/offers"]}
QUICK = {
    "rollout": {
        "steps": [50, 100],
        "step_seconds": 1,
        "window_seconds": 2,
        "hotfix_window_seconds": 2,
        "baseline_seconds": 0.5,
        "start_seconds": 30,
        "staging": None,
    },
    "limits": PATIENT_WITH_A_BUSY_MACHINE,
}

EVERY_SECRET: Parts = yaml.safe_load(PRODUCTION.read_text())["secrets"]["rotated"]
THIS_CENTURY = {
    "begins": "2001-01-01T00:00:00+00:00",
    "ends": "2101-01-01T00:00:00+00:00",
    "reason": "end of the century",
}


def write_environments(folder: Path) -> list[Path]:
    """Write the files below `folder`; returns their paths. What they refer to is put there by the tests."""
    production = yaml.safe_load(PRODUCTION.read_text())
    del production["approvals"]  # a runner of procedures without a worker cannot wait
    production["secrets"]["rotated"] = {"database": production["secrets"]["rotated"]["database"]}
    written = []
    for name, changes in _differences(folder).items():
        content = _merged(_merged(production, QUICK), {"environment": name, **changes})
        del content["store"], content["backups"]  # nothing that `backups-due` would start runs for
        del content["migrations"]  # the sample service brings its schema along when it starts
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        written.append(path)
    return written


def _differences(folder: Path) -> dict[str, Parts]:
    return {
        "shop-quick": {"notices": {"channels": [f"file:{folder}/channel", f"file:{folder}/closed-channel"]}},
        "shop-keen": {
            "limits": {"p95_seconds": 2, "p95_floor_seconds": 0.05, "minimum_samples": 30},
            "rollout": {"step_seconds": 8, "window_seconds": 20, "start_seconds": 6},
        },
        "shop-slow": {
            "platform": {"token": f"file:{folder}/changing-token"},
            "rollout": {"steps": [20, 100], "step_seconds": 120, "window_seconds": 120},
        },
        "shop-blind": {"metrics": {"path": "/nothing-here"}, "limits": {"unmeasured_seconds": 2}},
        "shop-unfit": {
            "service": {"response_seconds": 0.0001, "smoke": [_webhook(f"file:{folder}/wrong-secret")]},
            "rollout": {"freezes": [THIS_CENTURY]},
        },
        "shop-asked": {
            "approvals": {"needed": 1, "procedures": {"migrate-with-backup": {"needed": 2, "break_glass": False}}},
            "notices": {"channels": [f"file:{folder}/channel"]},
        },
        "shop-asked-by-name": {"approvals": {"needed": 1, "approvers": ["anne", "ben"], "break_glass": False}},
        "shop-asked-twice": {"approvals": {"needed": 2, "open_hours": 1}},
        "shop-asked-shortly": {"approvals": {"needed": 1, "open_hours": 0.01}},
        "shop-rotated": {
            "secrets": {
                "leave_seconds": 3,
                "rotated": {
                    "database": {"sinks": [{"type": "platform"}, {"type": "env-file", "path": f"{folder}/shop.env"}]}
                },
            },
        },
        "shop-every-kind": {
            "service": {"smoke": [_webhook(f"file:{folder}/mounted/SHOP_WEBHOOK_SECRET")]},
            "secrets": {"leave_seconds": 3, "rotated": _every_kind(folder)},
        },
        "shop-overdue": {},  # of which nothing was ever rotated
        "shop-tagged": {
            "rollout": {"deployer": "tag", "hotfix_window_seconds": 90},
            "source": {"folder": str(folder / "clone"), "remote": "origin"},
        },
    }


def _every_kind(folder: Path) -> Parts:
    """All but the database's. The mounted directory is where the smoke test reads the webhook's, too."""
    mounted = [{"type": "platform"}, {"type": "directory", "path": f"{folder}/mounted"}]
    return {
        "session": {**EVERY_SECRET["session"], "token_hours": 0.0001},
        "data": EVERY_SECRET["data"],
        "webhook": {
            "type": "provided",
            "variable": "SHOP_WEBHOOK_SECRET",
            "means": "the provider signs with it from now on",
            "value": f"file:{folder}/new-webhook-secret",
            "report": {"path": "/health/detailed", "member": "secrets.webhook"},
            "sinks": mounted,
        },
        "cache": {
            "type": "redis-acl",
            "variable": CACHE,
            "users": list(CACHE_USERS),
            "rotate_url": f"file:{folder}/{ROTATE_CACHE}",
            "sinks": [{"type": "platform"}],
        },
        "job": {
            "type": "generated",
            "variable": "JOB_TOKEN",
            "means": "the nightly job has to be told",
            "sinks": mounted,
        },
    }


def _webhook(secret: str) -> Parts:
    return {
        "name": "payment webhook",
        "request": "POST /webhooks/payment",
        "json": {"type": "ping"},
        "sign": {"header": "X-Signature", "secret": secret},
    }


def _merged(content: Parts, changes: Parts) -> Parts:
    """The content with the changes in their places; whatever is not a mapping is replaced as a whole."""
    merged = deepcopy(content)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else deepcopy(value)
    return merged
