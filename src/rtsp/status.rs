//! The one table from kinds of error to RTSP statuses (RFC 2326 §7.1.1).

use rtsp_types::StatusCode;

use crate::base::Kind;

/// The status that tells a client of an error.
pub(super) const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument => StatusCode::BadRequest,
        Kind::Unauthenticated => StatusCode::Unauthorized,
        // A path that a caller may not see is a path that is not there.
        Kind::NotFound | Kind::PermissionDenied => StatusCode::NotFound,
        Kind::AlreadyExists | Kind::FailedPrecondition => StatusCode::MethodNotValidInThisState,
        Kind::ResourceExhausted => StatusCode::NotEnoughBandwidth,
        Kind::Unavailable | Kind::Cancelled => StatusCode::ServiceUnavailable,
        Kind::DeadlineExceeded => StatusCode::GatewayTimeout,
        Kind::Unsupported => StatusCode::NotImplemented,
        Kind::Internal => StatusCode::InternalServerError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_away_is_not_a_path_that_does_not_exist() {
        assert_eq!(u16::from(status(Kind::Unavailable)), 503);
        assert_eq!(u16::from(status(Kind::NotFound)), 404);
        assert_eq!(u16::from(status(Kind::Unauthenticated)), 401);
        assert_eq!(u16::from(status(Kind::ResourceExhausted)), 453);
    }
}
