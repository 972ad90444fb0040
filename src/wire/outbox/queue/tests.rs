//! Whole and in order, whatever comes and goes.

use super::*;
use crate::wire::{Budget, LARGE};
use std::collections::{HashMap, HashSet};
use tokio_util::sync::CancellationToken;

fn accounts(count: usize) -> (Budget, Vec<Account>) {
    let budget = Budget::new(usize::MAX);
    let all = (0..count).map(|_| budget.account("a test", usize::MAX, CancellationToken::new())).collect();
    (budget, all)
}

/// A message of a sender: its number, its place among those of the sender, and so many letters.
fn push(queue: &mut Queue, by: (usize, &Account), request: u64, length: usize) {
    push_that(queue, by, request, length, false);
}

/// Likewise, one that waits until it is let go, or not.
fn push_that(queue: &mut Queue, by: (usize, &Account), request: u64, length: usize, waits: bool) {
    let sent = Sent { by: by.1, request: Some(request), waits };
    let (begin, letters) = (format!("{}:{request}:", by.0), "x".repeat(length));
    if length > 2 * LARGE {
        let text = Bytes::from(begin + &letters);
        queue.append_edited(sent, &text, &mut [Edit { at: 2..2, with: "" }]).expect("taken");
    } else {
        queue.append(sent, length, |out| out.extend_from_slice((begin + &letters).as_bytes())).expect("taken");
    }
}

fn write(queue: &mut Queue, out: &mut Vec<u8>) -> bool {
    let mut batch = Vec::new();
    let Some(part) = queue.next(&mut batch) else { return false };
    out.extend_from_slice(part.as_deref().unwrap_or(&batch));
    queue.written();
    true
}

/// Senders and requests, in the order in which they were written.
fn order(out: &[u8]) -> Vec<(usize, u64)> {
    let text = std::str::from_utf8(out).expect("text");
    let line = |line: &str| {
        let parts: Vec<_> = line.split(':').collect();
        assert!(parts.len() == 3 && parts[2].bytes().all(|byte| byte == b'x'), "a message in pieces");
        (parts[0].parse().expect("a sender"), parts[1].parse().expect("a request"))
    };
    text.lines().map(line).collect()
}

#[test]
fn who_sends_little_waits_for_one_message_of_those_who_send_much() {
    let (_budget, all) = accounts(4);
    let mut queue = Queue::new(all[0].clone());
    let mut out = Vec::new();
    for request in 0..3 {
        push(&mut queue, (1, &all[1]), request, 2 * SHARE);
    }
    push(&mut queue, (2, &all[2]), 3, 10);
    for request in 4..6 {
        push(&mut queue, (3, &all[3]), request, 3 * LARGE);
    }
    // What is small of one who has much waiting stays behind that.
    push(&mut queue, (1, &all[1]), 6, 10);
    push(&mut queue, (0, &all[0]), 7, 10);
    while write(&mut queue, &mut out) {}
    assert_eq!(order(&out), [(2, 3), (0, 7), (1, 0), (3, 4), (1, 1), (3, 5), (1, 2), (1, 6)]);
}

#[test]
fn a_request_is_withdrawn_until_its_turn() {
    let (budget, all) = accounts(2);
    let mut queue = Queue::new(all[0].clone());
    let mut out = Vec::new();
    for request in [3, 5, 7, 9] {
        push(&mut queue, (1, &all[1]), request, SHARE);
    }
    assert!(!queue.withdraw(3), "it is about to be written");
    assert!(!queue.withdraw(4) && !queue.withdraw(10), "nobody has sent it");
    assert!(queue.withdraw(5) && !queue.withdraw(5));
    assert!(queue.withdraw(9));
    while write(&mut queue, &mut out) {}
    assert_eq!(order(&out), [(1, 3), (1, 7)]);
    assert_eq!((queue.waiting(), budget.used(), queue.is_idle()), (0, 0, true));
    push(&mut queue, (1, &all[1]), 11, SHARE);
    push(&mut queue, (1, &all[1]), 12, SHARE);
    assert!(queue.withdraw(12) && write(&mut queue, &mut out) && !write(&mut queue, &mut out));
    assert!(queue.is_idle(), "a lane without messages is none");
}

#[test]
fn a_request_waits_until_it_is_let_go() {
    let (budget, all) = accounts(3);
    let mut queue = Queue::new(all[0].clone());
    let mut out = Vec::new();
    push(&mut queue, (1, &all[1]), 1, 10);
    for (request, length) in [(2, 10), (3, 3 * LARGE), (4, 10)] {
        push_that(&mut queue, (1, &all[1]), request, length, true);
    }
    // What its sender sends behind it waits as well, what others send does not.
    push(&mut queue, (1, &all[1]), 5, 10);
    push(&mut queue, (2, &all[2]), 6, 2 * SHARE);
    while write(&mut queue, &mut out) {}
    assert_eq!(order(&out), [(1, 1), (2, 6)]);
    assert!(queue.is_written() && queue.is_idle() && !queue.is_in_order());
    assert_eq!(queue.take().0, b"", "one that takes all gets no more");
    assert_eq!(queue.unread(), "1:5:\n".len() + 10, "what is held back is in nobody's way");
    assert!(queue.withdraw(2));
    queue.let_go(2);
    queue.let_go(4);
    assert!(!write(&mut queue, &mut out), "3 comes first");
    queue.let_go(3);
    assert!(!queue.is_idle());
    while write(&mut queue, &mut out) {}
    assert_eq!(order(&out)[2..], [(1, 3), (1, 4), (1, 5)]);
    assert_eq!((queue.waiting(), budget.used(), queue.is_in_order()), (0, 0, true));
}

#[test]
fn whatever_comes_and_goes_each_sender_is_heard_whole_and_in_order() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (budget, mut all) = accounts(5);
        let mut queue = Queue::new(all[0].clone());
        let (mut out, mut gone, mut waiting) = (Vec::new(), HashSet::new(), HashSet::new());
        for request in 0..60 {
            let at = random.usize(0..all.len());
            // A long one is rare: it takes a while to look at.
            let length = if random.u8(0..40) == 0 { Some(2 * LARGE + 99) } else { None };
            let length = length
                .or_else(|| random.choice([5, 300, 300, SHARE / 2, SHARE / 2, 2 * SHARE, 2 * SHARE]))
                .expect("one");
            let waits = at > 0 && random.u8(0..5) == 0;
            push_that(&mut queue, (at, &all[at]), request, length, waits);
            waiting.extend(Some(request).filter(|_| waits));
            assert_eq!(queue.waiting(), budget.used(), "seed {seed}");
            match random.u32(0..12) {
                0..6 => drop(write(&mut queue, &mut out)),
                6 => {
                    let request = random.u64(0..=request);
                    gone.extend(Some(request).filter(|request| queue.withdraw(*request)));
                }
                7 if at > 0 => {
                    all[at].cut().cancel();
                    gone.extend(queue.forget_cut());
                    all[at] = budget.account("a test", usize::MAX, CancellationToken::new());
                }
                8 => {
                    let whole = out.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                    assert!(order(&out[..whole]).iter().all(|(_, request)| !waiting.contains(request)), "seed {seed}");
                    waiting.drain().for_each(|request| queue.let_go(request));
                }
                _ => {}
            }
        }
        waiting.drain().for_each(|request| queue.let_go(request));
        if random.bool() {
            while write(&mut queue, &mut out) {}
        } else {
            // What is begun is written by whoever has begun it.
            while queue.writing.is_begun || !queue.turn.0.is_empty() {
                assert!(write(&mut queue, &mut out));
            }
            let (rest, weights) = queue.take();
            assert_eq!(weights.iter().map(Held::bytes).sum::<usize>(), rest.len(), "seed {seed}");
            out.extend(rest);
        }
        let written = order(&out);
        assert_eq!(written.len() + gone.len(), 60, "seed {seed}");
        assert!(written.iter().all(|(_, request)| !gone.contains(request)), "seed {seed}");
        let mut last = HashMap::new();
        for (sender, request) in written {
            assert!(last.insert(sender, request).is_none_or(|before| before < request), "seed {seed}");
        }
        assert_eq!((queue.waiting(), budget.used(), queue.is_idle()), (0, 0, true), "seed {seed}");
    }
}
