"""How much a lane may be asked: requests in flight (fixed, or found by itself) and requests or tokens per minute.

`Width` finds the number of requests in flight as TCP finds its window (RFC 5681): slow start, then additive increase,
and a multiplicative decrease on overload, once per burst (a failure of a request that was sent before the last
decrease says nothing new). Two things differ. Near the width at which the server last complained it grows ten times
slower (after CUBIC, RFC 9438), because each complaint costs a pause. And it does not grow past twice the width at
which answers came fastest: a server without limits would take everything and only let it wait.

`Rate` allows so many units in any 60 seconds, counted exactly: a server that counts by the minute never sees more.
"""

from __future__ import annotations

from collections import deque

START = 16
DECREASE = 0.75
FASTER = 1.1  # a rate that is this much better than the best so far is no noise
FORGET = 0.995  # the best rate fades a little each round: servers change


class Width:
    """Requests in flight that one lane may have.

    Args:
        fixed: this many, whatever happens; None finds it.
        most: never more than this.

    Attributes:
        value: how many now.
    """

    def __init__(self, *, fixed: int | None, most: int) -> None:
        self.fixed = fixed
        self.most = most
        self._limit = float(min(START, most))
        self.value = int(self._limit) if fixed is None else fixed
        self._slow_start = True
        self._ceiling = float("inf")
        self._decreased_at = float("-inf")
        self._round_began: float | None = None
        self._round_left = 0
        self._round_size = 0
        self._best_rate = 0.0
        self._best_at = self._limit

    def answered(self, now: float, *, in_flight: int) -> None:
        """An answer came while `in_flight` requests were under way, this one included."""
        if self.fixed is not None:
            return
        self._measure(now)
        if in_flight < self.value:  # it is not the width that holds us back
            return
        if self._limit >= 2 * self._best_at:
            self._slow_start = False
            return
        step = 1.0 if self._slow_start else 1.0 / self._limit
        if not self._slow_start and self._limit >= 0.95 * self._ceiling:
            step /= 10
        self._limit = min(self._limit + step, self.most)
        self.value = int(self._limit)

    def overloaded(self, now: float, *, sent_at: float) -> None:
        """The server refused or failed for having too much to do."""
        if self.fixed is not None or sent_at <= self._decreased_at:
            return
        self._slow_start = False
        self._ceiling = self._limit
        self._decreased_at = now
        self._limit = max(1.0, self._limit * DECREASE)
        self._best_at = min(self._best_at, self._limit)
        self._round_began = None
        self.value = int(self._limit)

    def set(self, *, fixed: int | None, most: int) -> None:
        """Change what the recipe said, while the lane works."""
        self.fixed, self.most = fixed, most
        self._limit = min(self._limit, float(most))
        self.value = int(self._limit) if fixed is None else fixed

    def _measure(self, now: float) -> None:
        """Compare the rate of answers, a width's worth of them at a time, with the best so far."""
        if self._round_began is None:
            self._round_began, self._round_left = now, max(8, self.value)
            self._round_size = self._round_left
            return
        self._round_left -= 1
        if self._round_left > 0:
            return
        rate = self._round_size / max(now - self._round_began, 1e-9)
        if rate >= FASTER * self._best_rate:
            self._best_rate, self._best_at = rate, self._limit
        else:
            self._best_rate *= FORGET
        self._round_began = None


class Rate:
    """At most so many units in any minute.

    Args:
        most: units; None is no limit.
        per_s: length of the minute.
    """

    def __init__(self, most: int | None, *, per_s: float = 60.0) -> None:
        self._most = most
        self._per_s = per_s
        self._taken: deque[tuple[float, int]] = deque()
        self._sum = 0

    def free_at(self, now: float, amount: int = 1) -> float:
        """When `amount` more may be taken: `now`, or a later time. More than all of a minute is let through alone."""
        if self._most is None:
            return now
        self._forget(now)
        need = self._sum + min(amount, self._most) - self._most
        if need <= 0:
            return now
        for at, taken in self._taken:
            need -= taken
            if need <= 0:
                return at + self._per_s
        return now + self._per_s

    def take(self, now: float, amount: int = 1) -> None:
        """Note that `amount` was taken."""
        if self._most is not None:
            self._taken.append((now, amount))
            self._sum += amount

    def correct(self, now: float, amount: int, *, taken_at: float) -> None:
        """Note that so much more (or less, if negative) was used than was taken in advance.

        What was not used is given back by the oldest units, which are forgotten first: so the sum is never too low.
        """
        if amount > 0:
            self.take(now, amount)
        self._forget(now)
        if amount >= 0 or self._most is None or taken_at + self._per_s <= now:
            return
        left = -amount
        while left and self._taken:
            at, taken = self._taken.popleft()
            less = min(left, taken)
            left -= less
            self._sum -= less
            if taken > less:
                self._taken.appendleft((at, taken - less))

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0][0] + self._per_s <= now:
            self._sum -= self._taken.popleft()[1]
