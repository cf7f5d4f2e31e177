//! Tokens read singly, where lists and numbers do not say all.

use super::*;

/// A location listed badly for an hour, and well again: until its next listing its number says that nobody is missing.
#[tokio::test]
async fn a_location_that_lists_again_is_not_read_singly_against_its_number() {
    let mut world = World::new(6).await;
    world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend([1, 3]);
    world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
    kept.goes_on(Duration::from_secs(95 * 60)).await;
    assert!(kept.is_held(1) && kept.is_held(3));
    // Over: its lists answer again.
    world.sandbox.change(|options| options.fails_at = None);
    kept.goes_on(INTERVAL * 3).await;
    // Single reads are wrong for three minutes.
    world.sandbox.change(|options| options.fail_only = Some("get"));
    world.fail(Some("gone"));
    // As the gate watches: at each change it looks whether the token is gone, and ends its sessions then (gate.rs, revise).
    let catalogue = Arc::clone(&kept.catalogue);
    let began = kept.clock.now().mono;
    let clock = kept.clock.clone();
    let watching = tokio::spawn(async move {
        loop {
            catalogue.changes().await;
            if [1, 3].into_iter().any(|id| catalogue.standing(TokenId(id)) == Some(Standing::Gone)) {
                return clock.now().mono - began;
            }
        }
    });
    kept.goes_on(Duration::from_secs(180)).await;
    let lost = if watching.is_finished() { watching.await.ok() } else { None };
    assert_eq!(lost, None, "its lists and its number say that both are there");
}

/// Lists fail from some moment on, single reads do not.
#[tokio::test]
async fn who_goes_while_lists_fail_between_listings_is_missed_soon() {
    let mut slow = Vec::new();
    for (mode, businesses) in [("500", vec![]), ("role-list", vec![]), ("at", vec![1, 2])] {
        let mut world = World::new(6).await;
        world.config.business_ids = businesses.iter().map(|id| BusinessId(*id)).collect();
        let mut kept = world.mirror();
        kept.settle().await;
        kept.goes_on(INTERVAL).await;
        world.in_use.lock().unwrap().extend([1, 3]);
        if mode == "at" {
            world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
        } else {
            world.sandbox.change(|options| options.fail_only = Some("list"));
            world.fail(Some(mode));
        }
        world.sandbox.delete_token(1);
        let took = kept.loses(1).await;
        slow.extend((took > INTERVAL * 3).then_some((mode, took)));
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// One outage in the middle of a listing, another half an hour later.
#[tokio::test]
async fn a_first_word_of_one_outage_is_none_in_another() {
    let world = World::new(2500).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend([7]);
    kept.clock.advance(ALL);
    kept.mirror.locations[0].next = kept.clock.now().mono + INTERVAL;
    assert_eq!(kept.mirror.step().await, Ok(Duration::ZERO), "the first page");
    assert!(kept.mirror.listing.is_some());
    kept.clock.advance(Duration::from_secs(1));
    world.sandbox.set_faults(vec!["500".parse().unwrap()]);
    // Lists fail; then single reads say for once that there is nobody.
    for _ in 0..12 {
        kept.goes_on(Duration::from_secs(10)).await;
    }
    world.sandbox.set_faults(vec!["gone".parse().unwrap(), "500".parse().unwrap()]);
    let mut n = 0;
    while kept.mirror.absent.is_empty() && n < 200 {
        n += 1;
        kept.goes_on(Duration::from_secs(1)).await;
    }
    world.sandbox.set_faults(vec![]);
    kept.goes_on(ALL - Duration::from_secs(60)).await;
    assert!(kept.is_held(7));
    // The other outage.
    world.sandbox.set_faults(vec!["500".parse().unwrap()]);
    kept.goes_on(Duration::from_secs(600)).await;
    world.sandbox.set_faults(vec!["gone:1".parse().unwrap(), "500".parse().unwrap()]);
    kept.goes_on(Duration::from_secs(200)).await;
    assert!(kept.is_held(7), "one wrong word");
}

/// Somebody goes in the middle of a listing of many pages, after his page, while another location fails for long.
#[tokio::test]
async fn who_goes_in_the_middle_of_a_listing_is_missed_soon() {
    for fails in [false, true] {
        let mut world = World::new(6000).await;
        world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
        let mut kept = world.mirror();
        kept.settle().await;
        world.in_use.lock().unwrap().extend([2]);
        if fails {
            world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
        }
        kept.goes_on(Duration::from_secs(4 * 3600)).await;
        // The next listing, up to its second page.
        let before = kept.catalogue.asked(TokenId(2));
        steps(&mut kept, |kept| kept.catalogue.asked(TokenId(2)) != before).await;
        kept.clock.advance(Duration::from_secs(2));
        world.sandbox.delete_token(2);
        let took = kept.loses(2).await;
        assert!(took <= INTERVAL * 2, "another fails: {fails}: {took:?}");
    }
}

/// Very many tokens and a ceiling: one on which nobody is online goes, and while everything is listed for that, one in use.
#[tokio::test]
async fn who_goes_while_everything_is_listed_for_another_is_missed_soon() {
    let mut world = World::new(30_000).await;
    world.config.requests_per_minute = 90;
    let mut kept = world.mirror();
    kept.goes_on(Duration::from_secs(600)).await;
    assert!(kept.catalogue.is_complete() && kept.mirror.listing.is_none());
    // As with 100 000 tokens and the ceiling of 90: a listing takes somewhat over two minutes.
    kept.mirror.nexudus = {
        let mut config = world.config.clone();
        config.requests_per_minute = 30;
        let made = Nexudus::new(&config, world.clock.clone(), None, Box::new(|_| ()), Box::new(())).unwrap();
        Arc::new(made)
    };
    world.in_use.lock().unwrap().extend([7]);
    world.sandbox.delete_token(25_000);
    steps(&mut kept, |kept| kept.mirror.listing.is_some()).await;
    // Its first page is read.
    let before = kept.catalogue.asked(TokenId(7));
    steps(&mut kept, |kept| kept.catalogue.asked(TokenId(7)) != before).await;
    kept.clock.advance(Duration::from_secs(1));
    world.sandbox.delete_token(7);
    let took = kept.loses(7).await;
    assert!(took <= INTERVAL * 2, "{took:?}");
}

/// Lists begin to hide many on which nobody is online; then somebody who is goes.
#[tokio::test]
async fn lists_that_begin_to_hide_many_do_not_blind_the_number() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend([10]);
    kept.goes_on(INTERVAL).await;
    world.sandbox.change(|options| options.hides = (200..600).collect());
    kept.goes_on(Duration::from_secs(600)).await;
    world.sandbox.delete_token(10);
    let took = kept.loses(10).await;
    assert!(took <= INTERVAL + Duration::from_secs(5), "{took:?}");
}

/// Goes on, a second at most at a time, until `met`.
async fn steps(kept: &mut Kept, met: impl Fn(&Kept) -> bool) {
    for _ in 0..10_000 {
        if met(kept) {
            return;
        }
        let pause = kept.mirror.step().await.unwrap_or(PAUSE);
        kept.clock.advance(pause.min(Duration::from_secs(1)));
    }
    panic!("not in 10 000 steps");
}
