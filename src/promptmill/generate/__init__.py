"""Generation: requests -> outcomes, the only path to a model.

`window.Window` keeps as many requests in flight as the lanes can take: a new one starts when one ends. Each goes
through `lanes` (how often) and `turns` (which lane) to `Endpoint.complete`; each outcome is in the `journal` before it
is counted in `status`. The rooms, what always holds and why: design/engine.md.
"""
