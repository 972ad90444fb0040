//! What to do with a request of a one-server view.

use crate::envelope::Edit;
use crate::hub::instance::calls::pending_call::OnReply;

/// What to do with a request of a one-server view.
pub(in crate::hub) enum Plan<'e> {
    Answered,
    Send(Vec<Edit<'e>>, OnReply),
}
