//! What an upstream offers, in its own words: handshakes and lists, raw, for the time when it does not run.

mod catalogs;
mod compare;
mod disk;
mod items;
mod kept;
mod shown;

pub use catalogs::{Audience, Catalog, Catalogs, Noted};
pub use compare::Compared;
pub use disk::{fingerprint, load, save};
pub use items::{Item, List, filtered, next_cursor, read_items};
pub use kept::Bounds;
pub use shown::Shown;
