//! What every route to a host must do, run on each: `sandbox` in a temporary folder, `ssh` on a real
//! host, `local` on the same host, where this very binary is copied to and run.
//!
//! The real host is named by the environment, as `tests/rig/rig env` prints it: `PLUMB_RIG_HOST`,
//! `PLUMB_RIG_USER`, `PLUMB_RIG_KEY` (a private key's path), `PLUMB_RIG_HOSTKEY`. Without it, what
//! needs one is ignored; asked for all the same (`--include-ignored`), it fails.
//!
//! What was done is looked at with the host's own programs, never with our own observation.

mod directory;
mod driver;
mod file;
mod firewall;
mod ground;
mod kernel_module;
mod kernel_parameter;
mod keypair;
mod link;
mod placing;
mod rig;
mod service;
mod transport;

/// Makes a test of each case on each route.
macro_rules! contract {
    ($($room:ident: $($case:ident),+;)+) => {
        mod sandbox {
            $(mod $room {$(
                #[tokio::test]
                async fn $case() {
                    crate::$room::$case(&crate::ground::Ground::sandbox()).await;
                }
            )+})+
        }

        mod ssh {
            $(mod $room {$(
                #[tokio::test]
                #[ignore = "needs a real host: `tests/run contract`"]
                async fn $case() {
                    let _turn = crate::rig::turn().await;
                    crate::$room::$case(&crate::ground::Ground::ssh()).await;
                }
            )+})+
        }

        mod local {
            $(mod $room {$(
                #[tokio::test]
                #[ignore = "needs a real host: `tests/run contract`"]
                async fn $case() {
                    let _turn = crate::rig::turn().await;
                    if let Some(ground) = crate::ground::Ground::here() {
                        crate::$room::$case(&ground).await;
                    } else {
                        crate::rig::there(concat!("local::", stringify!($room), "::", stringify!($case)));
                    }
                }
            )+})+
        }
    };
}

contract! {
    transport:
        facts_name_the_machine,
        an_unknown_base_asks_for_the_whole_state,
        a_state_travels_as_a_delta,
        looking_writes_nothing,
        contents_arrive_whole,
        a_content_that_does_not_come_fails_its_change_alone,
        progress_is_told_of_each_change,
        a_change_by_hand_since_the_observation_is_kept,
        an_older_epoch_is_refused,
        another_controller_takes_over_only_when_told_to,
        another_hosts_name_is_refused,
        an_unobserved_plan_is_refused_and_the_session_goes_on,
        sessions_follow_one_another,
        nothing_is_left_running;
    file:
        it_is_made_with_content_and_mode,
        it_is_put_right,
        it_goes_when_nothing_wants_it,
        what_was_there_is_given_back,
        absent_removes_it,
        a_directory_in_its_place_is_refused,
        a_second_hard_link_is_refused,
        a_link_in_its_place_is_not_followed,
        a_users_set_id_bits_do_not_become_roots,
        who_had_it_open_cannot_write_to_it_any_more,
        validate_is_given_a_path_that_only_root_can_change,
        a_block_keeps_the_rest_and_is_taken_out_exactly;
    directory:
        it_is_made_with_those_above_it,
        its_mode_is_put_right,
        it_goes_only_when_it_is_empty,
        a_file_in_its_place_is_refused,
        a_users_set_group_id_bit_does_not_become_roots;
    kernel_module:
        a_blacklist_is_written_corrected_and_removed;
    kernel_parameter:
        the_line_of_a_raspberry_pi_keeps_its_other_words;
    firewall:
        its_table_is_loaded_put_right_and_deleted;
    keypair:
        it_is_made_once_and_private,
        another_key_is_refused_and_never_replaced;
    link:
        it_is_made_and_may_dangle,
        it_is_turned_elsewhere,
        a_file_in_its_place_is_refused,
        it_goes_and_its_target_stays;
    service:
        one_that_fails_among_several_fails_alone;
}
