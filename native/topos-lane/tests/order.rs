//! The buffer against what it says it is: a queue that loses nothing, keeps the order, stays within its limits, and never lets its
//! process sleep while something waits.

use proptest::prelude::*;
use topos_lane::{Added, Buffer, Limits, Taken};

#[derive(Debug, Clone)]
enum Step {
    Push(Vec<u8>),
    Item(usize),
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 1..20).prop_map(Step::Push),
        1 => (1usize..100).prop_map(Step::Item),
        2 => Just(Step::Take),
    ];
    proptest::collection::vec(step, 0..200)
}

/// One record or item, in the order of adding. A record carries its length, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Record(Vec<u8>),
    Item(usize),
}

fn entries(taken: Taken<Vec<usize>>, limits: Limits) -> Vec<Entry> {
    match taken {
        Taken::Items(sizes) => {
            assert!(sizes.len() <= limits.count as usize);
            assert!(sizes.iter().sum::<usize>() <= limits.bytes || sizes.len() == 1);
            sizes.into_iter().map(Entry::Item).collect()
        }
        Taken::Records(count, bytes) => {
            assert!(count <= limits.count);
            assert!(bytes.len() <= limits.bytes || count == 1);
            let mut records = Vec::new();
            let mut rest = bytes.as_slice();
            while let Some((&length, more)) = rest.split_first() {
                let (record, left) = more.split_at(usize::from(length));
                records.push(Entry::Record(record.to_vec()));
                rest = left;
            }
            assert_eq!(records.len(), count as usize);
            records
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_overtaken(steps in steps(), count in 1u32..8, bytes in 1usize..64) {
        let limits = Limits { count, bytes };
        let mut buffer = Buffer::new(limits);
        let (mut added, mut taken) = (Vec::new(), Vec::new());
        // Told, or not yet back at an empty buffer: the process will look.
        let mut awake = false;
        for step in steps {
            match step {
                Step::Push(record) => {
                    let head = [record.len() as u8];
                    awake |= buffer.push(&head, &record) == Added::First;
                    added.push(Entry::Record(record));
                }
                Step::Item(size) => {
                    awake |= buffer.push_item(size, |items: &mut Vec<usize>| items.push(size)) == Added::First;
                    added.push(Entry::Item(size));
                }
                Step::Take => match buffer.take() {
                    Some(some) => taken.extend(entries(some, limits)),
                    None => awake = false,
                },
            }
            prop_assert!(awake || added.len() == taken.len());
        }
        while let Some(some) = buffer.take() {
            taken.extend(entries(some, limits));
        }
        prop_assert_eq!(added, taken);
    }
}
