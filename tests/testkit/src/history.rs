//! Whether what clients saw of one register could have come from a single one: a linearizability checker, after Wing and Gong, with
//! Lowe's memory of what was tried.
//!
//! An operation takes effect at one moment between its call and its return. One that was never answered may have taken effect at any
//! moment after its call, or never.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

/// What was asked of the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// To hold this.
    Write(u64),
    /// What it holds, which was this.
    Read(u64),
}

/// One operation. Times are of any clock that all clients share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it was.
    pub deed: Deed,
    /// When it was sent.
    pub called: u64,
    /// When its answer came; None: it was never answered.
    pub returned: Option<u64>,
}

/// No order explains what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What the register held after the most operations that could be put in order.
    pub held: u64,
    /// What could not come next then: everything under way at that time.
    pub stuck: Vec<Operation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the register held {}, and none of these can be next:",
            self.held
        )?;
        self.stuck.iter().try_for_each(|op| write!(f, "\n  {op:?}"))
    }
}

/// How far one attempt is: everything before `done` is in order, and `more` beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Position {
    done: usize,
    more: BTreeSet<usize>,
    held: u64,
}

/// Finds an order of `operations` on a register that held `initial`.
///
/// # Errors
/// There is none: the furthest any attempt came.
pub fn check(initial: u64, operations: &[Operation]) -> Result<(), Violation> {
    let operations = relevant(operations);
    let begin = Position {
        done: 0,
        more: BTreeSet::new(),
        held: initial,
    };
    let (mut furthest, mut open) = (begin.clone(), vec![begin]);
    let mut tried = HashSet::new();
    while let Some(position) = open.pop() {
        if position.is_complete(&operations) {
            return Ok(());
        }
        if position.count() > furthest.count() {
            furthest = position.clone();
        }
        for next in position.candidates(&operations) {
            let after = position.after(&operations, next);
            open.extend(after.filter(|after| tried.insert(after.clone())));
        }
    }
    let stuck = furthest.candidates(&operations);
    Err(Violation {
        held: furthest.held,
        stuck: stuck.into_iter().map(|n| operations[n]).collect(),
    })
}

/// By call. Unanswered reads say nothing; nor does an unanswered write that nobody ever saw, which may as well not have happened.
fn relevant(operations: &[Operation]) -> Vec<Operation> {
    let seen = operations.iter().filter_map(|op| match op.deed {
        Deed::Read(value) if op.returned.is_some() => Some(value),
        _ => None,
    });
    let seen: BTreeSet<u64> = seen.collect();
    let says = |op: &&Operation| match op.deed {
        Deed::Write(value) => op.returned.is_some() || seen.contains(&value),
        Deed::Read(_) => op.returned.is_some(),
    };
    let mut all: Vec<Operation> = operations.iter().filter(says).copied().collect();
    all.sort_by_key(|op| op.called);
    all
}

impl Position {
    fn count(&self) -> usize {
        self.done + self.more.len()
    }

    /// Everything that was answered is in order.
    fn is_complete(&self, operations: &[Operation]) -> bool {
        let mut rest = self.rest(operations);
        rest.all(|n| operations[n].returned.is_none())
    }

    fn rest(&self, operations: &[Operation]) -> impl Iterator<Item = usize> {
        (self.done..operations.len()).filter(|n| !self.more.contains(n))
    }

    /// What may come next: called before anything else that is left returned.
    fn candidates(&self, operations: &[Operation]) -> Vec<usize> {
        let (mut candidates, mut first_return) = (Vec::new(), u64::MAX);
        for n in self.rest(operations) {
            // Later ones were called later still.
            if operations[n].called > first_return {
                break;
            }
            first_return = first_return.min(operations[n].returned.unwrap_or(u64::MAX));
            candidates.push(n);
        }
        candidates
    }

    /// After operation `next`; None: it cannot have answered so.
    fn after(&self, operations: &[Operation], next: usize) -> Option<Self> {
        let held = match operations[next].deed {
            Deed::Write(value) => value,
            Deed::Read(value) if value == self.held => value,
            Deed::Read(_) => return None,
        };
        let (mut done, mut more) = (self.done, self.more.clone());
        more.insert(next);
        while more.remove(&done) {
            done += 1;
        }
        Some(Self { done, more, held })
    }
}

#[cfg(test)]
mod tests;
