"""Runs code that a model wrote where it can do no harm and cannot forge its verdict.

`pool` is the side of promptmill: it starts one server and asks it to judge. Everything else runs in the server and its
children, on the standard library alone: `server` builds the jail and forks, `jail` shuts a process in (`mounts`,
`syscalls`, `seccomp`, `landlock`), `tests` runs the tests in one process, `program` the model's code in another, and
`frames` and `values` carry plain values between the two. `protections` says what of this the machine offers.

The threat model and what was tried and left is in design/sandbox.md.
"""
