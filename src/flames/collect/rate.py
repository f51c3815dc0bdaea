"""Finds out what an endpoint allows, with few rejected requests.

Nobody says beforehand how many requests an endpoint takes. The first rejection holds all others
back; one request alone tries, after growing pauses, whether the endpoint answers again. How long
that took tells what kind of limit it is:

- Seconds: requests are spaced. The space shrinks until the next rejection and is then a little
  larger, so that nearly everything is used that the endpoint allows.
- Longer: it most likely counts by the minute. Within any minute no more requests are sent than it
  took in the minute before the rejection; now and then one more tries for more.

One rejection among many requests that were taken is no limit, nor is the very first one: where the
first try is answered and none of those under way was rejected, asking goes on as before, and the
next such rejection holds nobody back. Where nothing was taken in the minute before the rejection,
it does not tell what the endpoint allows, however long it lasted. A space that has held nothing
back for long is forgotten.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

_MINUTE = 60.3  # the rest is for requests that take unequally long to get there
_SHORT_PAUSES = (0.3, 4.0)  # before it is taken for a limit by the minute
_SPACED_PAUSES = (0.3, 1.0, 4.0)  # the same where a short limit was found
_LONE_PAUSES = (0.3, 1.0, 4.0, 15.0)  # where it may be no limit at all
_LONG_PAUSES = (15.0, 30.0, 60.0)  # when the minute was not enough
_DOWN_PAUSES = (1.0, 3.0, 10.0, 30.0, 60.0)  # when nothing is answered at all
_GAP = 4.0  # only in the middle of a longer one is more than the known number tried
_LONE = 16  # requests taken between two rejections that have nothing to do with each other
_FORGOTTEN = 64  # answers in a row while the space held nothing back
_FIRST_AT_ONCE = 4
_FIRST_SPACE = 0.05  # at most between the first requests, so that a rejection is noticed early
_KEPT_SENDS = 4096


class LearnedRate:
    """What an endpoint seems to allow; times are seconds of any one clock.

    Attributes:
        at_once: The number of requests that may be under way.
        a_minute: The most requests within a minute, where a limit by the minute was found.
        space: Seconds between two requests, where a shorter limit was found.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.at_once = float(most)
        self.a_minute: int | None = None
        self.space = 0.0
        self.closed = False  # one request alone tries
        self.open_at = 0.0
        self._trying: float | None = None  # when that request was sent
        self._down = False
        self._misses = 0  # such tries without success
        self._in_a_row = 0  # rejections since the last success
        self._since_rejection = 0  # successes since the last rejection
        self._last_rejected = -math.inf  # when it was sent
        self._taken_before = 0  # requests between that one and the one rejected before it
        self._others = 0  # rejected with it
        self._lone = False  # the last rejections said nothing of other requests
        self._slack = 0  # answers in a row while the space held nothing back
        self._rejected_at = -math.inf
        self._opened_at = -math.inf
        self._spaced_at = 0.0
        self._answer_s: float | None = None  # what the first answer took
        self._sends: list[float] = []  # of the last minutes, without the rejected ones
        self._rate_at_rejection = 0.0
        self._more_every = 10  # successes before one more a minute is tried
        self._more_in = self._more_every
        self._more: float | None = None  # when that request was sent

    @property
    def found(self) -> float | None:
        """The requests a minute that the endpoint seems to allow; None as long as it takes all."""
        return self.a_minute or (60 / self.space if self.space else None)

    def begin(self, expected: int) -> None:
        """Starts with few at once if few requests are expected: a rejection then costs little."""
        if self._rejected_at == -math.inf:
            first = float(min(self.most, max(_FIRST_AT_ONCE, expected // 8)))
            self.at_once = first if self._answer_s is None else max(self.at_once, first)

    def free(self, active: int) -> bool:
        """Tells whether another request may be under way."""
        return active < int(self.at_once) and self._trying is None

    def next_at(self, now: float) -> float:
        """Returns when the next request may be sent, if one more may be under way."""
        at = max(self.open_at, self._spaced_at)
        turn = self._minute_turn()
        if self._more_in <= 0 and self._more is None and turn - self._sends[-1] > _GAP:
            turn = (self._sends[-1] + turn) / 2
        return max(at, turn)

    def _minute_turn(self) -> float:
        if self.a_minute is None or self.closed or len(self._sends) < self.a_minute:
            return -math.inf
        return self._sends[-self.a_minute] + _MINUTE

    def sent(self, now: float) -> None:
        """Notes that a request is sent."""
        if self.closed:
            self._trying = now
        elif self._minute_turn() > now + _GAP / 4:
            self._more = now
        self._sends.append(now)
        if len(self._sends) > _KEPT_SENDS or self._sends[0] < now - 3 * _MINUTE:
            del self._sends[: bisect_left(self._sends, now - _MINUTE)]
        space = self.space
        if self._answer_s is not None and self._careful(now):
            space = max(space, min(_FIRST_SPACE, self._answer_s))
        # where the turn was only just missed, the turns stay as they are
        turn = self._spaced_at if now - self._spaced_at < space else now
        self._spaced_at = turn + space

    @property
    def _never_rejected(self) -> bool:
        return self._rejected_at == -math.inf

    def _careful(self, now: float) -> bool:
        if self._never_rejected:
            return self.at_once < self.most
        return self._lone and self._opened_at > self._rejected_at and self._taken(now) < _LONE

    def answered(self, since: float, now: float) -> None:
        """Notes that the request sent at `since` was answered."""
        if self._answer_s is None:
            self._answer_s = now - since
        if since > self._rejected_at:
            self._in_a_row = 0
            self._since_rejection = min(99, self._since_rejection + 1)
        if since == self._more:
            self._more, self._more_in = None, 1
            self.a_minute = (self.a_minute or 0) + 1
        elif self.a_minute is not None:
            self._more_in -= 1
        if since == self._trying:
            self._open(since)
        elif self.space and not self.closed and since > self._rejected_at:
            self._quicken()
        if self.at_once < self.most:
            step = 0.25 if self._never_rejected else 0.5
            self.at_once = min(float(self.most), self.at_once + step)

    def _open(self, since: float) -> None:
        pause = since - self._rejected_at
        first = self._opened_at == -math.inf
        enough = _LONE if self.a_minute else 1 if first else _FIRST_AT_ONCE
        lone = not (self.space or self._others or self._misses) and self._taken_before >= enough
        if self._down:
            pass
        elif lone or not self._count(self._rejected_at):  # no limit, or an unknown one
            self._lone = not self.space
            if first:  # few were under way then, which tells as little
                self.at_once = max(self.at_once, min(float(self.most), _FIRST_AT_ONCE))
        elif self.a_minute is None and pause < sum(_SPACED_PAUSES) + 1:
            self.space = self.space or pause
        else:
            # A count by the minute may have begun anew within our minute, which holds two then.
            whole = self._count(self._rejected_at)
            fresh = self._count(self._rejected_at, self._opened_at)
            found = max(1, fresh, math.ceil(whole / 2))
            old = self.a_minute
            self.a_minute = found if old is None else max(min(found, old), math.ceil(old / 2))
            if old is None:  # few successes a minute would make a small number last for long
                self._more_in = self._more_every = min(self._more_every, 2 * found)
            self.space = 0.0
        self.closed = self._down = False
        self._trying, self._opened_at, self._misses = None, since, 0

    def _quicken(self) -> None:
        last = self._sends[-8:]
        if last[-1] - last[0] > 1.5 * self.space * 7:
            self._slack += 1  # something else is what holds the requests back
            if self._slack >= _FORGOTTEN:
                self.space = self._rate_at_rejection = 0.0
            return
        self._slack = 0
        rate, goal = 1 / self.space, 0.98 * self._rate_at_rejection
        if not goal:
            rate *= 1.25
        else:
            rate *= 1 + min(0.25, 0.002 * 2 ** (self._since_rejection / 5))
            rate += 0.1 * max(0.0, goal - rate)
        self.space = 1 / rate

    def rejected(
        self, since: float, now: float, active: int, wait: float | None, deadline: float
    ) -> None:
        """Notes that the request sent at `since` was rejected: too many requests.

        Args:
            since: When it was sent.
            now: The time.
            active: Number of other requests under way.
            wait: The seconds that the endpoint asks to wait.
            deadline: When patience ends; the last try is made then.
        """
        place = bisect_left(self._sends, since)
        if self._sends[place : place + 1] == [since]:
            del self._sends[place]
        if since == self._more:
            self._more = None
            self._more_every *= 4
            self._more_in = self._more_every
            return
        wait = wait or 0.0
        if since == self._trying:
            self._trying = None
            self._misses += 1
        elif since <= self._rejected_at or self.closed:  # of a burst that was noticed already
            self.open_at = max(self.open_at, min(now + wait, deadline))
            self._fewer(active)
            self._others += 1
            self._lone = False
            return
        elif self._lone and self._taken(since) >= _LONE and not wait:
            self._last_rejected = since
            return
        else:
            self._fewer(active)
            self._slow_down(since, now)
            if self.space and self._in_a_row < 3 and not wait:
                self.open_at = now + self.space
                return
            self.closed = True
        self.open_at = max(self.open_at, min(now + max(self._pause(now), wait), deadline))

    def _fewer(self, active: int) -> None:
        """Takes those that are still under way, if any, for what is allowed at once."""
        if active and not self.space and self.a_minute is None:
            self.at_once = min(self.at_once, float(active))

    def _slow_down(self, since: float, now: float) -> None:
        if self.space:
            if not self._rate_at_rejection:
                self.space *= 1.12  # it grew in large steps, one of which went too far
            self._rate_at_rejection = 1 / self.space
            self.space /= 0.9
        self._in_a_row += 1
        self._since_rejection = self._slack = self._others = 0
        self._last_rejected, self._taken_before = since, self._taken(since)
        self._lone = False
        self._rejected_at = now

    def _pause(self, now: float) -> float:
        if self._down:
            return _DOWN_PAUSES[min(self._misses, len(_DOWN_PAUSES) - 1)]
        minutes = self._misses
        in_minute = self._sends[bisect_right(self._sends, now - _MINUTE) :]  # rejected ones apart
        if self.a_minute is None:
            pauses: tuple[float, ...] = _SPACED_PAUSES if self.space else _SHORT_PAUSES
            if not self._others and (self._taken_before >= _LONE or not in_minute):
                pauses = _LONE_PAUSES
            if self._misses < len(pauses):
                return pauses[self._misses]
            minutes -= len(pauses)
        elif self._taken_before >= _LONE and not self._others:
            if not minutes:
                return _SHORT_PAUSES[0]
            minutes -= 1
        if minutes:
            return _LONG_PAUSES[min(minutes, len(_LONG_PAUSES)) - 1]
        begun = in_minute[0] if in_minute else self._rejected_at
        return max(1.0, begun + _MINUTE - now)

    def _count(self, now: float, start: float = -math.inf) -> int:
        start = max(start, now - _MINUTE)
        return bisect_right(self._sends, now) - bisect_left(self._sends, start)

    def _taken(self, until: float) -> int:
        return bisect_left(self._sends, until) - bisect_right(self._sends, self._last_rejected)

    def failed(self, since: float, now: float, deadline: float, *, down: bool = False) -> None:
        """Notes a request that ended in any other way; `down` means that nothing is answered."""
        if since == self._trying and not (down or self._down):
            self._open(since)  # whatever was wrong, it was not the number of requests
            return
        if since == self._trying:
            self._trying = None
            self._misses += 1
        elif not down or self.closed:
            return
        else:
            self._misses, self._rejected_at = 0, now
        self.closed, self._down = True, self._down or down
        self.open_at = max(self.open_at, min(now + self._pause(now), deadline))
