//! What every store must do. Each behaviour is a function that panics where a store does otherwise.

#![allow(clippy::unwrap_used, reason = "a behaviour that does not hold panics")]

mod kit;

pub mod access;
pub mod batches;
pub mod credits;
pub mod holds;
pub mod jobs;
pub mod journal;
pub mod leases;
pub mod queues;
pub mod reads;
pub mod records;
pub mod schedules;
pub mod values;
pub mod wakes;

/// Makes a test of every behaviour, on the store that an `async fn() -> Stores` opens.
///
/// ```ignore
/// mod mine {
///     levqor_core::conformance!(my_crate::fresh_store);
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    ($open:path) => {
        $crate::conformance!(@one $open:
            batches::a_batch_is_all_or_nothing,
            batches::the_same_key_gives_the_same_answer,
            batches::a_thousand_tries_under_one_key_make_one_effect,
            batches::a_key_stands_for_one_payload,
            batches::business_failures_stick_to_their_key,
            batches::wrong_input_does_not_stick_to_its_key,
            batches::an_id_is_given_once,
            credits::no_more_is_spent_than_there_is,
            credits::an_audit_sees_one_moment,
            credits::many_accounts_at_once,
            credits::two_stores_never_give_back_twice,
            credits::a_source_is_granted_once,
            credits::transfers_in_both_directions,
            holds::a_job_that_is_done_pays_from_its_hold,
            holds::a_job_that_is_done_can_pay_all_or_nothing,
            holds::a_job_that_failed_pays_nothing,
            holds::a_hold_that_ran_out_does_not_hinder_the_end,
            holds::more_than_the_hold_is_refused,
            jobs::jobs_come_by_priority_then_time_then_id,
            jobs::a_scheduled_job_comes_when_it_is_due,
            jobs::a_waiting_job_is_cancelled_at_once,
            jobs::a_running_job_is_asked_to_stop,
            jobs::a_snooze_is_no_attempt,
            jobs::a_job_is_retried_until_its_attempts_are_used,
            jobs::a_dead_job_is_redriven,
            jobs::finishing_twice_is_finishing_once,
            jobs::bad_jobs_are_refused,
            leases::a_lease_that_ran_out_gives_the_job_to_another,
            leases::a_job_that_kills_its_workers_is_dead_and_its_hold_free,
            leases::sixty_jobs_of_sixty_accounts_die_in_one_commit,
            leases::a_job_on_its_last_chance_is_leased_alone,
            leases::heartbeats_keep_a_lease,
            leases::many_queues_are_served_in_their_order,
            leases::two_stores_lease_every_job_once,
            journal::steps_are_written_under_the_lease_only,
            journal::settled_steps_stay,
            queues::a_paused_queue_gives_nothing,
            queues::a_queue_runs_as_many_as_it_may,
            queues::jobs_of_one_key_run_one_after_another,
            queues::a_crowd_of_one_key_hides_nobody,
            queues::a_queue_starts_jobs_at_its_rate,
            queues::a_key_starts_jobs_at_its_rate,
            queues::bad_limits_are_refused,
            queues::a_unique_job_is_there_once,
            queues::a_unique_job_keeps_its_key_for_a_while,
            queues::debounced_jobs_become_one,
            queues::a_job_follows_its_batch,
            queues::a_batch_with_a_failure_waits_or_goes_on,
            queues::a_signal_ends_a_wait,
            records::versions_guard_records,
            records::an_expired_record_is_absent,
            records::usage_counts_once,
            reads::pages_of_jobs_have_no_gaps_and_no_doubles,
            reads::jobs_are_filtered_and_counted,
            reads::a_page_goes_on_behind_what_has_changed,
            reads::entries_accounts_and_records_come_in_order,
            schedules::a_tick_is_fired_once_however_many_try,
            schedules::declaring_a_schedule_again_changes_nothing,
            schedules::what_never_fires_is_refused,
            schedules::a_paused_schedule_does_not_fire,
            schedules::a_deleted_schedule_is_gone,
            schedules::ticks_that_overlap_are_dropped_wait_or_are_started,
            schedules::missed_ticks_are_told,
            schedules::history_is_bounded,
            schedules::a_tick_that_cannot_be_paid_is_told_and_holds_nobody_up,
            schedules::a_backfill_starts_no_tick_twice,
            schedules::a_schedule_is_started_by_hand,
            schedules::schedules_are_read_in_order,
            values::strange_texts_come_back_or_are_refused,
            values::long_texts_come_back,
            values::a_bad_value_harms_no_other_batch,
            access::a_revoked_key_is_refused_everywhere_within_a_second,
            access::a_rotated_key_passes_beside_the_one_before_it,
            access::keys_are_listed_without_their_texts,
            access::the_last_use_of_a_key_is_known_to_some_minutes,
            access::a_key_has_a_limit_of_its_own,
            access::a_webhook_is_worked_on_once,
            wakes::a_waiter_hears_an_enqueue,
            wakes::a_waiter_hears_what_another_process_does,
            wakes::who_waits_for_a_job_hears_its_end,
        );
    };
    (@one $open:path: $($room:ident :: $name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let stores = $open().await;
                $crate::testkit::behaviours::$room::$name(&stores).await;
            }
        )*
    };
}
