//! How a camera is spoken to: what is asked, what is answered, how it ends.

use super::{
    super::testing::{Film, deaf},
    *,
};

#[tokio::test]
async fn a_camera_is_asked_for_its_stream_and_told_goodbye() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        talk.play_on(&mut Film::new()).await
    })
    .await;
    plays(&camera).await;
    assert_eq!(camera.methods(0), ["DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]);
    let requests = camera.requests.lock().unwrap();
    assert_eq!(requests[0].url, camera.url("/stream"));
    // go2rtc#7: some cameras know `CSeq` in this spelling only; go2rtc#235: others answer nobody without a name.
    assert!(requests.iter().all(|request| request.text.contains("\r\nCSeq: ")));
    assert!(
        requests.iter().all(|request| request.header("User-Agent").is_some_and(|name| name.starts_with("campanile/")))
    );
}

#[tokio::test]
async fn picture_size_and_units_are_those_of_the_stream() {
    let camera = Camera::start(async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        talk.play_on(&mut Film::new()).await
    })
    .await;
    let path = Watched::start(source(&camera));
    let mut reader = pictures(&path).await;
    let units = reader.take(40).await;
    let track = reader.tracks().tracks[0].clone();
    assert_eq!(track.parameters.picture_size().map(|size| (size.width, size.height)), Some((1280, 720)));
    let starts = units.iter().filter(|unit| unit.random_access).count();
    assert!((3..=5).contains(&starts), "{starts} random access points in 40 units of GOPs of 10");
    assert!(
        units.windows(2).all(|pair| (pair[1].dts - pair[0].dts).millis() == 10),
        "timestamps wrapped without a step"
    );
    let counters = path.stream.counters();
    assert_eq!(counters.packets_bad.load(Ordering::Relaxed), 0);
    assert!(counters.bytes_received.load(Ordering::Relaxed) > 1000);
    path.stop().await;
}

#[tokio::test]
async fn redirects_are_followed_with_the_login() {
    let target = Camera::start(async |_, mut talk| {
        let request = talk.request().await?;
        talk.answer(&request, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "").await?;
        talk.serve(H264_SDP).await?;
        talk.play_on(&mut Film::new()).await
    })
    .await;
    let to = target.url("/moved");
    let camera = Camera::start(move |_, mut talk| {
        let to = to.clone();
        async move {
            loop {
                let request = talk.request().await?;
                talk.answer(&request, "302 Moved", &format!("Location: {to}\r\n"), "").await?;
            }
        }
    })
    .await;
    let mut options = options(&camera.url("/stream"));
    options.camera.credentials = Some(Credentials { username: "admin".into(), password: Secret::new("secret") });
    let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
    pictures(&path).await;
    path.stop().await;
    let requests = target.requests.lock().unwrap();
    assert_eq!(requests[1].url, target.url("/moved"));
    assert_eq!(requests[1].header("Authorization"), Some("Basic YWRtaW46c2VjcmV0"));
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let camera = Camera::start(async |_, mut talk| {
        loop {
            let request = talk.request().await?;
            talk.answer(&request, "301 Moved", "Location: /stream\r\n", "").await?;
        }
    })
    .await;
    let path = Watched::start(source(&camera));
    let failure = path.failure().await;
    assert_eq!(failure.code(), "source_redirect", "{failure:?}");
    path.stop().await;
}

#[test]
fn a_login_stays_with_its_host_and_between_private_addresses() {
    let keeps = |from: &str, to: &str| keeps_login(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
    assert!(keeps("rtsp://cam.example/a", "rtsp://cam.example:8554/b"));
    assert!(keeps("rtsp://192.168.1.2/a", "rtsp://192.168.1.3/b"));
    assert!(!keeps("rtsp://192.168.1.2/a", "rtsp://203.0.113.9/b"));
    assert!(!keeps("rtsp://cam.example/a", "rtsp://other.example/b"));
    assert!(!keeps("rtsps://cam.example/a", "rtsp://cam.example/a"), "never from TLS to plain");
}

#[tokio::test]
async fn a_camera_that_refuses_the_only_transport_allowed_is_named() {
    let camera = Camera::start(async |_, mut talk| {
        loop {
            let request = talk.request().await?;
            match request.method.as_str() {
                "SETUP" => talk.answer(&request, "461 Unsupported transport", "", "").await?,
                _ => talk.obey(&request, H264_SDP).await?,
            }
        }
    })
    .await;
    let mut options = options(&camera.url("/stream"));
    options.camera.transport = SourceTransport::Tcp;
    let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
    let failure = path.failure().await;
    assert_eq!(failure.code(), "source_transport");
    assert!(failure.hint().is_some_and(|hint| hint.contains("transport: udp")), "{failure:?}");
    path.stop().await;
}

#[tokio::test]
async fn answers_of_a_camera_become_codes() {
    for (status, code) in [
        ("403 Forbidden", "source_unauthorized"),
        ("404 Not found", "source_not_found"),
        ("453 Not enough bandwidth", "source_busy"),
        ("503 Service unavailable", "source_busy"),
        ("500 Internal error", "source_protocol"),
    ] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                talk.answer(&request, status, "", "").await?;
            }
        })
        .await;
        let path = Watched::start(source(&camera));
        let failure = path.failure().await;
        assert_eq!(failure.code(), code, "{failure:?}");
        assert!(failure.message().contains(&camera.address.to_string()), "{failure:?}");
        path.stop().await;
    }
}

#[tokio::test]
async fn nobody_there_is_told_from_a_wrong_name() {
    let deaf = deaf();
    let refusing = format!("rtsp://{}/", deaf.local_addr().unwrap());
    for (url, code) in [(refusing, "source_refused"), ("rtsp://no-such-host.invalid/".into(), "source_dns")] {
        let path = Watched::start(RtspSource::new(options(&url), CameraHosts::default()));
        assert_eq!(path.failure().await.code(), code, "{url}");
        path.stop().await;
    }
}

#[tokio::test]
async fn the_step_that_is_not_answered_is_named() {
    for silent in ["DESCRIBE", "SETUP", "PLAY"] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                if request.method == silent {
                    return talk.fall_silent().await;
                }
                talk.obey(&request, H264_SDP).await?;
            }
        })
        .await;
        let mut options = options(&camera.url("/stream"));
        options.camera.request_timeout = HumanDuration::from_millis(200);
        let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
        let failure = path.failure().await;
        assert_eq!(failure.code(), "source_timeout");
        assert!(failure.message().contains(&format!("no answer to {silent} within 0.2 s")), "{failure:?}");
        path.stop().await;
    }
}

#[tokio::test]
async fn a_source_that_is_told_to_stop_while_it_calls_stops() {
    let camera = Camera::start(async |_, mut talk| talk.fall_silent().await).await;
    let path = Watched::start(source(&camera));
    while camera.methods(0).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    path.stop().await;
}

#[tokio::test]
async fn a_camera_that_announces_nothing_or_hangs_up_is_named() {
    let nothing = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let camera = Camera::start(async move |_, mut talk| talk.serve(nothing).await).await;
    let path = Watched::start(source(&camera));
    let failure = path.failure().await;
    assert_eq!(failure.code(), "source_codec", "{failure:?}");
    path.stop().await;
    for step in ["DESCRIBE", "SETUP", "PLAY"] {
        let camera = Camera::start(move |_, mut talk| async move {
            loop {
                let request = talk.request().await?;
                if request.method == step {
                    return Ok(());
                }
                talk.obey(&request, H264_SDP).await?;
            }
        })
        .await;
        let path = Watched::start(source(&camera));
        let failure = path.failure().await;
        assert_eq!(failure.code(), "source_closed");
        assert!(failure.message().ends_with(&format!("the camera hung up during {step}")), "{failure:?}");
        path.stop().await;
    }
}
