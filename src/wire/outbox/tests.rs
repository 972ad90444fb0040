//! What is pushed is written, whole and in order, and within its bound.

use super::*;

fn push(outbox: &Outbox, frame: &str) -> Result<(), Refused> {
    outbox.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_given_up() {
    let (near, mut far) = tokio::io::duplex(64);
    let outbox = Outbox::new(Account::alone(1 << 20));
    push(&outbox, &"x".repeat(1_000)).expect("taken");
    let writing = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.write_to_reader(near).await }
    });
    // As long as it takes something, it may take its time.
    for _ in 0..3 {
        tokio::time::sleep(STALLED * 3 / 4).await;
        tokio::io::AsyncReadExt::read(&mut far, &mut [0; 64]).await.expect("read");
    }
    assert!(!writing.is_finished());
    tokio::time::sleep(STALLED * 2).await;
    assert_eq!(writing.await.expect("joined").expect_err("given up").kind(), io::ErrorKind::TimedOut);
    assert_eq!(push(&outbox, "more"), Err(Refused::Closed));
}

#[tokio::test]
async fn a_long_message_keeps_its_place_and_is_not_copied() {
    let outbox = Outbox::new(Account::alone(usize::MAX));
    let text = Bytes::from(format!(r#"{{"id":1,"method":"m","params":{{"a":"{}"}}}}"#, "x".repeat(2 * LARGE)));
    let kept = Envelope::parse(&text).expect("valid");
    let envelope = Envelope { shared: Some(&text), ..kept };
    push(&outbox, "before").expect("taken");
    outbox.push_edited(&envelope, &mut [envelope.edit(envelope.id, "\"\u{2028}\"")]).expect("taken");
    push(&outbox, "behind").expect("taken");
    assert!(outbox.0.queue.lock().keeps_long_ones_apart());
    let expected = String::from_utf8_lossy(&text).replacen('1', "\"\\u2028\"", 1);
    let expected = format!("before\n{expected}\nbehind\n");
    assert_eq!((outbox.waiting(), outbox.account().held()), (expected.len(), expected.len()));
    outbox.close();
    let (whole, weights) = outbox.take().await.expect("there");
    assert_eq!(whole.len(), expected.len());
    assert_eq!(weights.iter().map(Held::bytes).sum::<usize>(), expected.len(), "by itself from then on");
    assert_eq!(outbox.account().held(), 0);

    let outbox = Outbox::new(Account::alone(usize::MAX));
    push(&outbox, "before").expect("taken");
    outbox.push_edited(&envelope, &mut [envelope.edit(envelope.id, "\"\u{2028}\"")]).expect("taken");
    push(&outbox, "behind").expect("taken");
    let (mut batch, mut shared) = (Vec::new(), 0);
    // Also where the writer waited for it, it gets the text itself.
    let waiting = Outbox::new(Account::alone(usize::MAX));
    let taking = tokio::spawn({
        let waiting = waiting.clone();
        async move {
            while let Some(part) = waiting.take_part(&mut batch).await {
                shared += part.map_or(0, |part| part.len());
                waiting.taken(&mut batch);
            }
            shared
        }
    });
    tokio::task::yield_now().await;
    waiting.push_edited(&envelope, &mut [envelope.edit(envelope.id, "2")]).expect("taken");
    waiting.close();
    assert!(taking.await.expect("joined") > 2 * LARGE);
    outbox.close();
    let mut written = Vec::new();
    outbox.write_to(&mut written).await.expect("written");
    assert!(written == expected.as_bytes());
    assert_eq!(outbox.account().held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_request_keeps_back_is_written_when_it_goes() {
    for withdraws in [true, false] {
        let (near, far) = tokio::io::duplex(1 << 10);
        let outbox = Outbox::new(Account::alone(1 << 20));
        let writing = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.write_to(near).await }
        });
        let by = Account::alone(1 << 20);
        let push_of = |request: Option<u64>, text: &str| {
            let sent = Sent { by: &by, request, waits: request.is_some() };
            outbox.push_of(sent, text.len(), |out| out.extend_from_slice(text.as_bytes()))
        };
        push_of(Some(1), "first").expect("taken");
        push_of(None, "second").expect("taken");
        push_of(Some(2), "third").expect("taken");
        // The writer has looked, and waits.
        tokio::task::yield_now().await;
        if withdraws {
            assert!(outbox.withdraw(1));
        } else {
            outbox.let_go(1);
        }
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(far));
        let before: &[_] = if withdraws { &["second"] } else { &["first", "second"] };
        for expected in before.iter().chain(&["of another"]) {
            if *expected == "of another" {
                push(&outbox, expected).expect("taken");
            }
            let line = tokio::time::timeout(STALLED, lines.next_line()).await.expect("written").expect("read");
            assert_eq!(line.as_deref(), Some(*expected));
        }
        outbox.discard();
        writing.await.expect("joined").expect("written");
    }
}

#[tokio::test]
async fn frames_leave_in_order_and_the_bound_holds() {
    let outbox = Outbox::new(Account::alone(8));
    assert_eq!(push(&outbox, "a frame over the limit"), Ok(()));
    assert_eq!(push(&outbox, "b"), Err(Refused::Full));
    let writer = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            let mut written = Vec::new();
            outbox.write_to(&mut written).await.map(|()| written)
        }
    });
    outbox.room().await;
    assert_eq!(push(&outbox, "b"), Ok(()));
    assert_eq!(push(&outbox, "c"), Ok(()));
    outbox.close();
    assert_eq!(push(&outbox, "d"), Err(Refused::Closed));
    let written = writer.await.expect("joined").expect("written");
    assert_eq!(written, b"a frame over the limit\nb\nc\n");
}
