// Package storage keeps counts in Badger and answers questions about them. It knows nothing of HTTP, of visitors,
// or of how a hit becomes counts.
//
// The store is a cube: tables of tuples of dimension values with summed measures, for each site and day (see
// schema.go). Rows are increments: Append adds them up, also negative ones, so the order and the grouping of
// hits are gone once runs have merged. What is on disk is described byte by byte in FORMAT.md.
//
// # What is exact
//
// Counts of hits (PageViews, Events) always are, under any filter and grouping that one table holds. Visitors and
// visits are exact distinct counts under any filters over attributes (source, country, browser, entry page, ...)
// together with at most one page, event name or hostname. Under a set of pages (several values, contains, is not)
// no exact number can be had without a record per visitor; the answer then is an upper bound that counts whoever
// came into the set from outside, with a lower bound beside it (Value.AtMost). A set of event names or hostnames
// is bounded by the sum and the largest of its members. Page, event name and hostname together have no answer
// for visitors and visits: ErrNotTogether.
//
// Over several days visitors are the sum of the daily ones. By hour they are distinct within the hour. A visitor
// is booked on the source and entry page of the first visit of the day, so visitors by source add up to all
// visitors. An event that comes before the first page view of its visit has no entry page under filters over
// single hits. Engaged time and scroll depth are booked on the page, without the page before it.
//
// # What is let go
//
// When a day is over at its site, its runs become one and a rollup is written: sums by one dimension at a time. Some days
// later the hour leaves the tuples, and the totals of each hour stay in the rollup (Retention.Hours); then the tuples go
// and the rollup stays (Detail); then the rollup goes too (Totals). Questions that come too late have no answer:
// ErrNotKept. An import opens a day again, and it is closed once more. What has been replaced or deleted leaves Badger's
// files within the hour, at once after a removal, and always before Purge returns.
//
// # Faults
//
// While too little space is free on the disk, nothing is written: Append fails with ErrUnavailable, and works again
// once there is space. Blocks of Badger's tables are verified when they are read, so that damage is an error and not a
// wrong number.
//
// # Durability
//
// Append and Batch.Wait return after the commit: what they accepted survives the end of the process at any
// moment. A power cut may take the last second, unless Options.Sync is set.
//
// # Concurrency
//
// All methods of DB may be called from many goroutines. One goroutine commits, one merges runs, one syncs; Close
// waits for them. Queries read one consistent state of the store and never wait for writers.
package storage
