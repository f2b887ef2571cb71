//! What listens where a camera should be, and is none: what a person is told.

use std::sync::Arc;

use super::*;
use crate::base::Error;

/// What is said of a source that cannot be one.
async fn told(camera: &Camera) -> Arc<Error> {
    let mut options = options(&camera.url("/stream"));
    options.camera.request_timeout = HumanDuration::from_millis(500);
    let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
    let told = path.failure().await;
    path.stop().await;
    told
}

#[tokio::test]
async fn a_web_server_is_named_as_such() {
    let camera = Camera::start(async |_, mut talk| {
        talk.request().await?;
        talk.write(b"HTTP/1.1 400 Bad Request\r\nServer: page\r\nContent-Length: 3\r\n\r\nno\n").await
    })
    .await;
    let told = told(&camera).await;
    assert_eq!(told.code(), "source_protocol");
    assert!(told.message().ends_with("what listens there speaks HTTP, not RTSP"), "{told:?}");
    assert!(told.hint().unwrap().contains("554"), "{told:?}");
}

#[tokio::test]
async fn a_shell_that_waits_is_named_as_such() {
    let camera = Camera::start(async |_, mut talk| {
        talk.write(b"SSH-2.0-OpenSSH_9.2\r\n").await?;
        talk.fall_silent().await
    })
    .await;
    let told = told(&camera).await;
    assert!(told.message().ends_with("speaks SSH, not RTSP"), "{told:?}");
}

#[tokio::test]
async fn a_port_of_tls_is_named_and_what_to_write() {
    let camera =
        Camera::start_tls(Some(logins::certificate().acceptor), async |_, mut talk| talk.serve(H264_SDP).await).await;
    let told = told(&camera).await;
    assert!(told.message().ends_with("speaks TLS, not RTSP"), "{told:?}");
    assert!(told.hint().unwrap().contains("rtsps://"), "{told:?}");
}

#[tokio::test]
async fn whoever_hangs_up_at_once_is_no_stranger() {
    let camera = Camera::start(async |_, _| Ok(())).await;
    let told = told(&camera).await;
    assert_eq!(told.code(), "source_closed");
    assert!(told.hint().unwrap().contains("too many viewers"), "{told:?}");
}

/// `retina` reads a body of any length; the next call goes where there are bounds.
#[tokio::test]
async fn a_description_without_end_is_read_once_and_then_refused() {
    let camera = Camera::start(async |_, mut talk| {
        let request = talk.request().await?;
        let head = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\nContent-Length: 4000000000\r\n\r\n", request.sequence());
        talk.write(head.as_bytes()).await?;
        loop {
            talk.write(&[b'a'; 1000]).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let mut options = options(&camera.url("/stream"));
    options.camera.request_timeout = HumanDuration::from_millis(500);
    let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
    let told = path.failure().await;
    assert!(told.message().ends_with("announces 4000000000 bytes"), "{told:?}");
    // Without its bound the bridge would read until the time is over.
    let long = || camera.requests.lock().unwrap().iter().map(|request| request.connection).max() > Some(5);
    timeout(Duration::from_secs(20), async {
        while !long() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(path.stream.snapshot().error.unwrap().message().ends_with("announces 4000000000 bytes"));
    path.stop().await;
}
