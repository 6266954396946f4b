use proptest::prelude::*;

use super::*;

fn op(deed: Deed, called: u64, returned: u64) -> Operation {
    Operation {
        deed,
        called,
        returned: Some(returned),
    }
}

fn write(value: u64, called: u64, returned: u64) -> Operation {
    op(Deed::Write(value), called, returned)
}

fn read(value: u64, called: u64, returned: u64) -> Operation {
    op(Deed::Read(value), called, returned)
}

fn lost(value: u64, called: u64) -> Operation {
    Operation {
        deed: Deed::Write(value),
        called,
        returned: None,
    }
}

#[test]
fn what_one_register_can_show_is_accepted() {
    let good: [&[Operation]; 6] = [
        &[],
        &[read(0, 1, 2), write(1, 3, 4), read(1, 5, 6)],
        // During a write both are seen, the new one last.
        &[write(1, 1, 9), read(0, 2, 3), read(1, 4, 5)],
        // Two writes at a time: either order.
        &[write(1, 1, 5), write(2, 2, 6), read(1, 7, 8)],
        // Never answered, seen much later.
        &[lost(1, 1), write(2, 2, 3), read(2, 4, 5), read(1, 6, 7)],
        // Never answered, never seen.
        &[lost(1, 1), write(2, 2, 3), read(2, 4, 5), lost(3, 6)],
    ];
    for history in good {
        assert_eq!(check(0, history), Ok(()), "{history:?}");
    }
}

#[test]
fn what_no_register_can_show_is_refused() {
    let bad: [&[Operation]; 7] = [
        // From nowhere.
        &[read(7, 1, 2)],
        // A lost write.
        &[write(1, 1, 2), read(0, 3, 4)],
        // Back to the old value.
        &[write(1, 1, 9), read(1, 2, 3), read(0, 4, 5)],
        // Read before it was written.
        &[read(1, 1, 2), write(1, 3, 4)],
        // Seen, gone, and seen again.
        &[lost(1, 1), read(1, 2, 3), read(0, 4, 5)],
        &[lost(1, 1), write(2, 2, 3), read(1, 4, 5), read(2, 6, 7)],
        // Two readers see two writes in two orders.
        &[
            write(1, 1, 2),
            write(2, 1, 2),
            read(1, 3, 4),
            read(2, 5, 6),
            read(1, 7, 8),
        ],
    ];
    for history in bad {
        let violation = check(0, history);
        assert!(violation.is_err(), "{history:?}");
    }
    let told = check(0, bad[1]).unwrap_err().to_string();
    assert!(
        told.contains("held 1") && told.contains("Read(0)"),
        "{told}"
    );
}

#[test]
fn long_histories_are_checked_soon() {
    let pair = |n: u64| {
        [
            write(n, n * 10, n * 10 + 12),
            read(n, n * 10 + 5, n * 10 + 14),
        ]
    };
    let mut history: Vec<Operation> = (1..3000).flat_map(pair).collect();
    let begun = std::time::Instant::now();
    assert_eq!(check(0, &history), Ok(()));
    history.push(read(5, 40_000, 40_001));
    assert!(check(0, &history).is_err());
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

/// Every order of every choice of what took effect.
fn by_trying_all(held: u64, left: &[Operation]) -> bool {
    if left.iter().all(|op| op.returned.is_none()) {
        return true;
    }
    (0..left.len()).any(|n| {
        let mut rest = left.to_vec();
        let next = rest.remove(n);
        let in_time = rest
            .iter()
            .all(|op| op.returned.is_none_or(|at| at >= next.called));
        in_time
            && match next.deed {
                Deed::Write(value) => by_trying_all(value, &rest),
                Deed::Read(value) => {
                    (next.returned.is_none() || value == held) && by_trying_all(held, &rest)
                }
            }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let deed = (any::<bool>(), 0..3u64);
    let deed = deed.prop_map(|(reads, value)| {
        if reads {
            Deed::Read(value)
        } else {
            Deed::Write(value)
        }
    });
    (deed, 0..12u64, prop::option::weighted(0.8, 1..6u64)).prop_map(|(deed, called, took)| {
        Operation {
            deed,
            called,
            returned: took.map(|took| called + took),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_agrees_with_trying_all(history in prop::collection::vec(operation(), 0..7)) {
        prop_assert_eq!(check(0, &history).is_ok(), by_trying_all(0, &history), "{:?}", history);
    }
}
