//! What a service manager is told: systemd's notifications (`sd_notify(3)`) and watchdog.

use tokio_util::sync::CancellationToken;

#[cfg(target_os = "linux")]
mod manager {
    use sd_notify::NotifyState;

    pub(super) fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "service manager not told");
        }
    }
}

pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    manager::tell(&[sd_notify::NotifyState::Ready]);
}

pub(super) fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        manager::tell(&[sd_notify::NotifyState::Reloading, now]);
    }
}

pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    manager::tell(&[sd_notify::NotifyState::Stopping]);
}

/// Says from time to time that the event loop turns: a daemon that hangs is started anew.
pub(super) async fn watchdog(stop: CancellationToken) {
    #[cfg(target_os = "linux")]
    if let Some(limit) = sd_notify::watchdog_enabled() {
        match crate::ticks::Ticks::new("watchdog") {
            Ok(mut ticks) => {
                while stop.run_until_cancelled(ticks.after(limit / 3)).await.is_some() {
                    manager::tell(&[sd_notify::NotifyState::Watchdog]);
                }
            }
            Err(error) => tracing::error!(%error, "cannot keep the watchdog quiet: it will end this daemon"),
        }
    }
    #[cfg(not(target_os = "linux"))]
    drop(stop);
}
