"""The web service: questions and events in, JSON out.

Read `app`, which puts it together, then `lists`, the route that is asked most; `envelope` and
`guard` are what every request passes through, `problems` is how any of it says no.
"""
