//! What MiniStack keeps of the contracts, and what it does not. It answers one request after the other, and never cuts a page by its
//! size: that a partition of several megabytes is read whole is shown by moto and by the embedded database.

/// Clauses that it does not keep, each with the reason: none.
const DIFFERENCES: &[(&str, &str)] = &[];

crate::witness::contracts!(
    "HARPOON_MINISTACK",
    differences: DIFFERENCES,
    store: [
        an_item_is_read_as_it_was_written,
        what_is_not_there_is_not_an_error,
        tables_and_partitions_do_not_mix,
        an_unconditional_put_replaces,
        an_item_that_must_be_absent_is_written_once,
        a_version_that_was_read_is_written_once,
        a_delete_obeys_its_condition,
        a_lone_check_writes_nothing,
        a_transaction_happens_wholly,
        a_transaction_happens_not_at_all,
        a_transaction_names_the_first_item_that_failed,
        a_check_holds_a_transaction_back,
        a_transaction_that_names_an_item_twice_is_refused,
        a_transaction_holds_a_hundred_writes_and_no_more,
        an_empty_transaction_succeeds,
        sort_keys_are_ordered_by_their_bytes,
        a_range_includes_both_ends,
        a_range_that_ends_before_it_begins_is_empty,
        a_prefix_selects_what_begins_with_it,
        pages_cut_by_a_limit_hold_everything_once,
        pages_cut_by_size_hold_everything_once,
        a_query_continues_after_a_key_that_is_gone,
        a_cursor_outside_the_range_does_not_widen_it,
        many_items_are_read_by_key,
        a_scan_reads_a_whole_table_once,
        a_partition_lies_in_one_segment_and_stands_together,
        a_scan_continues_after_an_item_that_is_gone,
        a_segment_that_does_not_exist_is_refused,
        one_of_many_conditional_writers_wins,
        no_write_is_lost_between_readers_that_write_back,
        one_of_many_transactions_over_the_same_items_wins,
    ],
    queue: [everything_sent_is_delivered, concurrent_senders_lose_nothing, an_oversize_message_is_refused]
);
