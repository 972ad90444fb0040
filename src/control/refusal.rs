//! Why a call is refused, as its error.

use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};

use crate::hub::Failure;

pub(super) fn refused(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObject::owned(code, message, None::<()>)
}

pub(super) fn failed(failure: &Failure) -> ErrorObjectOwned {
    refused(failure.code(), failure.to_string())
}
