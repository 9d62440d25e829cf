"""Generation: requests -> outcomes, the only path to a model.

`window.Window` keeps a fixed number of requests in flight: a new one starts when one ends. Each goes through
`lanes` (which endpoint, how often) to `Endpoint.complete`; each outcome is in the `journal` before it is counted in
`status`.
"""
