"""gate.py USER PROGRAM [ARGUMENT…]: becomes the program once its starter has written its pid down.

The starter says so through standard input. If it dies before that, so does this process:
nothing ever runs that is not on record. USER is "-" for the user who started it.
"""

import os
import pwd
import signal
import sys


def main() -> None:
    user, *argv = sys.argv[1:]
    if os.read(0, 1) != b"1":
        return
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if user != "-":
        _become(pwd.getpwnam(user))
    os.umask(0o077)
    # A shell's background job ignores SIGINT, and Python itself ignores SIGPIPE.
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is wanted)


def _become(user: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


if __name__ == "__main__":
    main()
