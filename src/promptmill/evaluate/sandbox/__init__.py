"""Runs code that a model wrote where it can do no harm and cannot forge its verdict.

`pool` is the side of promptmill: it starts one server and asks it to judge. Everything else runs in the server and its
children, on the standard library alone: `server` builds the jail and forks, `jail` shuts a process in (`mounts`,
`syscalls`, `seccomp`, `landlock`), `tests` runs the tests in one process as `plan` says, `program` the model's code in
another. Between the two `frames` carries messages, `values` and `kinds` values, `raising` exceptions; what does not
cross is kept by the program (`held`), and the tests have stand-ins for it (`stand_ins`, `handles`). `protections` says
what of this the machine offers.

The threat model and what was tried and left is in design/sandbox.md.
"""
