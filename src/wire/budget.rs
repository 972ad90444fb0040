//! What all that waits weighs: an account for each who makes it wait, and one budget for all accounts together.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::wire::refused::Refused;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Why a message of an agent was given up.
pub const GIVEN_UP: &str =
    "as much waits in the daemon as may (max_memory), and what this agent has sent is most of it";

/// The bound on what all accounts hold together, in bytes. Where something more is to be held, the account that holds most is
/// the one that must give way: if that is the one that asks, it is refused, and otherwise the other one is cut.
#[derive(Clone)]
pub struct Budget(Arc<Bound>);

struct Bound {
    most: usize,
    /// From here on somebody gives way: what is cut goes only when its owner has its turn, and not all that is held is weighed.
    lean: usize,
    used: AtomicUsize,
    accounts: Mutex<Vec<Weak<Owned>>>,
    /// Told when an account was cut.
    cut: Notify,
}

/// What one agent, one connection or one server has waiting.
#[derive(Clone)]
pub struct Account(Arc<Owned>);

struct Owned {
    /// Whose it is, in words.
    whose: Cow<'static, str>,
    bound: Arc<Bound>,
    held: AtomicUsize,
    /// What this one alone may hold.
    limit: usize,
    /// Who waits for [`Account::room_for`] something.
    waiters: AtomicUsize,
    freed: Notify,
    /// Cancelled when it must give back all that it holds.
    cut: CancellationToken,
    /// It held most, and was cut: a look at it takes no lock.
    held_most: AtomicBool,
}

/// Some bytes of an account, given back on drop.
#[derive(Debug)]
pub struct Held {
    account: Account,
    bytes: usize,
}

impl Budget {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Bound {
            most,
            lean: most - most / 8,
            used: AtomicUsize::new(0),
            accounts: Mutex::default(),
            cut: Notify::new(),
        }))
    }

    /// An account that may hold `limit` bytes, or one thing if that is larger; its owner gives all back when `cut` is
    /// cancelled.
    pub fn account(&self, whose: impl Into<Cow<'static, str>>, limit: usize, cut: CancellationToken) -> Account {
        let account = Arc::new(Owned {
            whose: whose.into(),
            bound: self.0.clone(),
            held: AtomicUsize::new(0),
            limit,
            waiters: AtomicUsize::new(0),
            freed: Notify::new(),
            cut,
            held_most: AtomicBool::new(false),
        });
        let mut accounts = self.0.accounts.lock();
        if accounts.len() == accounts.capacity() {
            accounts.retain(|known| known.strong_count() > 0);
        }
        accounts.push(Arc::downgrade(&account));
        Account(account)
    }

    /// Bytes that all accounts hold.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Waits until an account was cut.
    pub async fn cut(&self) {
        self.0.cut.notified().await;
    }
}

impl Bound {
    /// Makes room for `more` bytes of an account, if that is possible.
    fn make_room(&self, asks: &Owned, more: usize) -> Result<(), Refused> {
        let accounts: Vec<_> = self.accounts.lock().iter().filter_map(Weak::upgrade).collect();
        // What was cut gives back all that it holds as soon as its owner has its turn.
        let held = |account: &Owned| account.held.load(Ordering::Relaxed);
        let others = accounts.iter().filter(|one| !one.cut.is_cancelled() && !std::ptr::eq(&***one, asks));
        let mut others: Vec<_> = others.map(|one| (held(one), one)).collect();
        others.sort_by_key(|(held, _)| *held);
        let own = held(asks) + more;
        let mut all = own + others.iter().map(|(held, _)| held).sum::<usize>();
        while all > self.lean {
            match others.pop().filter(|(held, _)| *held > own) {
                Some((held, heaviest)) => {
                    all -= held;
                    let (whose, most) = (&heaviest.whose, self.most);
                    tracing::warn!(whose = %whose, held, most, "memory for what waits is used up (max_memory): what is held for who holds most of it is given up");
                    heaviest.held_most.store(true, Ordering::Relaxed);
                    heaviest.cut.cancel();
                    heaviest.freed.notify_waiters();
                    self.cut.notify_one();
                }
                None => return Err(Refused::OverBudget),
            }
        }
        Ok(())
    }
}

impl Account {
    /// One with a bound of its own only.
    pub fn alone(limit: usize) -> Self {
        Budget::new(usize::MAX).account("", limit, CancellationToken::new())
    }

    /// Another one that is cut together with this one, and weighed by itself.
    pub fn beside(&self, limit: usize) -> Self {
        Budget(self.0.bound.clone()).account(self.0.whose.clone(), limit, self.0.cut.clone())
    }

    /// Another one of the same owner, which is cut by itself.
    pub fn apart(&self, limit: usize) -> Self {
        Budget(self.0.bound.clone()).account(self.0.whose.clone(), limit, CancellationToken::new())
    }

    /// Notes that `bytes` more are held, if there is room for them.
    pub fn take(&self, bytes: usize) -> Result<(), Refused> {
        if self.has_room_for(bytes) { self.take_beyond(bytes) } else { Err(Refused::Full) }
    }

    /// Likewise, whatever it may hold by itself.
    pub(super) fn take_beyond(&self, bytes: usize) -> Result<(), Refused> {
        let Owned { bound, held, .. } = &*self.0;
        if bound.used.load(Ordering::Relaxed).saturating_add(bytes) > bound.lean {
            bound.make_room(&self.0, bytes)?;
        }
        held.fetch_add(bytes, Ordering::Relaxed);
        bound.used.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that `bytes` are not held any more.
    pub fn give_back(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        self.0.bound.used.fetch_sub(bytes, Ordering::Relaxed);
        if self.0.waiters.load(Ordering::Relaxed) > 0 {
            self.0.freed.notify_waiters();
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        let held = self.held();
        held == 0 || held.saturating_add(bytes) <= self.0.limit
    }

    /// Waits until `bytes` more may be held by itself, or it was cut.
    pub async fn room_for(&self, bytes: usize) {
        let _waits = Waits::new(&self.0.waiters);
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.has_room_for(bytes) || self.held_most() {
                return;
            }
            freed.await;
        }
    }

    /// What was taken for `guessed` bytes, and has `bytes`.
    pub(super) fn taken(&self, guessed: usize, bytes: usize) -> Held {
        self.settle(guessed, bytes);
        Held { account: self.clone(), bytes }
    }

    /// Whether both are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Notes that what was taken for `guessed` bytes has `bytes`.
    pub(super) fn settle(&self, guessed: usize, bytes: usize) {
        let Owned { bound, held, .. } = &*self.0;
        // Wraps where it is less, as atomics do.
        let more = bytes.wrapping_sub(guessed);
        held.fetch_add(more, Ordering::Relaxed);
        bound.used.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes `bytes`, for as long as what it returns lives.
    pub fn hold(&self, bytes: usize) -> Result<Held, Refused> {
        self.take(bytes)?;
        Ok(Held { account: self.clone(), bytes })
    }

    /// Holds nothing yet.
    pub fn nothing(&self) -> Held {
        Held { account: self.clone(), bytes: 0 }
    }

    /// What it may hold by itself.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// What it holds now.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether it was cut because it held most.
    pub fn held_most(&self) -> bool {
        self.0.held_most.load(Ordering::Relaxed)
    }

    /// Cancelled when it must give back all that it holds.
    pub fn cut(&self) -> &CancellationToken {
        &self.0.cut
    }
}

/// Counts as one who waits for as long as it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.bound.used.fetch_sub(*self.held.get_mut(), Ordering::Relaxed);
    }
}

impl Held {
    /// Notes that what it holds has `bytes`.
    pub(super) fn settle(&mut self, bytes: usize) {
        self.account.settle(self.bytes, bytes);
        self.bytes = bytes;
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_of(&self, account: &Account) -> bool {
        self.account.is(account)
    }

    /// Whether its account must give it back.
    pub(super) fn is_cut(&self) -> bool {
        self.account.cut().is_cancelled()
    }

    /// Weighs it for another account, whatever that may hold.
    pub(super) fn move_to(&mut self, account: &Account) {
        account.settle(0, self.bytes);
        let bytes = std::mem::take(&mut self.bytes);
        std::mem::replace(&mut self.account, account.clone()).give_back(bytes);
        self.bytes = bytes;
    }

    /// Whether both are of one account.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.account.is(&other.account)
    }

    /// Cancelled when its account must give it back.
    pub fn cut(&self) -> &CancellationToken {
        self.account.cut()
    }

    /// Holds also what another one of the same account does.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes out so much of it, or all that there is.
    pub fn part(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: self.account.clone(), bytes }
    }

    /// Holds nothing from now on.
    pub fn clear(&mut self) {
        self.account.give_back(std::mem::take(&mut self.bytes));
    }

    /// Holds `bytes` from now on.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Refused> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.account.take(more)?,
            None => self.account.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.used(), self.most())
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}: {} of {})", self.0.whose, self.held(), self.0.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(budget: &Budget) -> Account {
        budget.account("a test", 80, CancellationToken::new())
    }

    #[test]
    fn the_heaviest_gives_way() {
        // An eighth is kept back.
        let budget = Budget::new(114);
        let (heavy, light, lightest) = (account(&budget), account(&budget), account(&budget));
        assert_eq!((heavy.take(60), light.take(30)), (Ok(()), Ok(())));
        assert_eq!(heavy.take(20), Err(Refused::OverBudget), "the one that asks holds most");
        assert!(!heavy.cut().is_cancelled() && !light.cut().is_cancelled());
        assert_eq!(lightest.take(20), Ok(()), "the heaviest makes room");
        assert!(heavy.cut().is_cancelled() && !light.cut().is_cancelled());
        assert_eq!(light.take(40), Ok(()), "what was cut is as good as given back");
        assert_eq!(lightest.take(11), Ok(()), "and the next one");
        assert!(light.cut().is_cancelled() && !lightest.cut().is_cancelled());
        drop((heavy, light));
        assert_eq!((budget.used(), lightest.held()), (31, 31), "who is gone holds nothing");
    }

    #[test]
    fn one_may_hold_so_much() {
        let budget = Budget::new(1_000);
        let one = account(&budget);
        let mut held = one.hold(90).expect("one thing, however large");
        assert_eq!(one.take(1), Err(Refused::Full));
        assert_eq!(held.resize(70), Ok(()));
        assert_eq!(one.take(10), Ok(()));
        assert_eq!(held.resize(71), Err(Refused::Full));
        drop(held);
        assert_eq!((one.held(), budget.used()), (10, 10));
        assert_eq!(one.beside(80).held(), 0);
    }
}
