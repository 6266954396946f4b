"""Processor time, medians and tables."""
import os
import statistics

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pids):
    """User and kernel seconds of processes with all their threads. The sum is the scheduler's (nanoseconds); how it splits is
    sampled by the kernel's clock tick."""
    total = user = kernel = 0.0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0]) / 1e9
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        user += int(fields[11]) / TICK
        kernel += int(fields[12]) / TICK
    return total, user, kernel


class Sample:
    """What one run cost per unit, and how it felt to the client."""

    def __init__(self, before, after, units, rate, p99):
        total, user, kernel = (b - a for a, b in zip(before, after))
        split = user / (user + kernel) if user + kernel else 0
        self.cpu = total / units
        self.user = self.cpu * split
        self.kernel = self.cpu - self.user
        self.rate, self.p99 = rate, p99


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def ratios(rounds, who, base):
    """Per round, so that what disturbed a round disturbs both."""
    return [r[who].cpu / r[base].cpu for r in rounds]


def table(title, rounds, bases, unit, rate):
    """A text of one line per proxy; `rounds` are dictionaries of samples by name."""
    lines = [title,
             f"  {'':16} {'CPU-s/' + unit:>22} {'user':>6} {'kernel':>6} {rate:>10} {'p99 ms':>7}  "
             + "  ".join(f"{'ratio to ' + b:<22}" for b in bases)]
    for who in rounds[0]:
        mine = [r[who] for r in rounds]
        middle = lambda what: statistics.median(getattr(s, what) for s in mine)
        p99 = f"{middle('p99'):7.2f}" if mine[0].p99 is not None else "      -"
        row = (f"  {who:16} {spread([s.cpu for s in mine]):>22} {middle('user'):6.2f} {middle('kernel'):6.2f} "
               f"{middle('rate'):10.4g} {p99}  ")
        lines.append((row + "  ".join(f"{spread(ratios(rounds, who, b)):<22}" for b in bases)).rstrip())
    return "\n".join(lines)


def calmest(rounds, who, base):
    """Ratio of the least disturbed rounds: what others do on the machine only ever adds."""
    least = lambda name: min(r[name].cpu for r in rounds)
    return least(who) / least(base)


def verdict(what, value, bar):
    word = "met" if value <= bar else "MISSED"
    return f"  bar: {what} {value:.2f} <= {bar}: {word}"
