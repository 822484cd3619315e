// Package storage keeps counts in Badger and answers questions about them. It knows nothing of HTTP, of visitors,
// or of how a hit becomes counts.
//
// The store is a cube: tables of tuples of dimension values with summed measures, for each site and day (see
// schema.go). Rows are increments: Append adds them up, also negative ones, so the order and the grouping of
// hits are gone once runs have merged. What is on disk is described byte by byte in FORMAT.md.
//
// # What is exact
//
// Counts of hits (PageViews, Events) always are, under any filter and grouping that one table holds. For visitors and
// visits it matters which columns stand anywhere in the filters, whatever joins them, or are grouped by:
//
//	none but attributes, entry and exit page       exact, under any tree of filters
//	page (or event name, if only "pageview" passes) exact if each group has one page, else a bound
//	event name                                     exact if each group has one name, else a bound
//	hostname                                       exact if each group has one hostname, else a bound
//	property, with or without event name           a bound, which is exact where one tuple of properties has the value
//	                                               on each day; visitors by hour: ErrNotTogether
//	two of page, event name or property, hostname  ErrNotTogether, but for property and event name
//	exit page with page, event name, hostname      ErrNotTogether, also for counts of hits
//	or property
//
// Attributes are what is the same for all hits of a visitor or visit: source, country, browser and so on. A group has one
// page if it is grouped by page, or if the filters let one page pass: "is" with one value among what must hold, under "not"
// its contrary, and in every branch of an "or" the same. Grouped by hour or with several names, page views by event name are a
// bound, since they are a set of pages.
//
// # Bounds
//
// Under a set of pages (several values, contains, is not, matches, an "or" of pages and countries) no exact number can be
// had without a record per visitor. Let S be the pages with which a row would pass the filters, all its other columns being
// what they are: for one visitor S is the same on all rows, since all else that the filters ask for is an attribute. The answer
// is an upper bound, the sum of the firsts on pages of S that come from outside: the page before lies not in S, nor does the
// entry page, or the hit is the entry itself. Whoever has a hit in S is counted at the first one, and twice only after leaving S
// and coming back to another page of it. The lower bound of a day is the larger of those who entered through S, and the most
// visited page of S. Sets of event names, hostnames and properties keep no record of what came before: at most the sum, at
// least the largest member. By hour the upper bound of visitors is the plain sum; visits by hour are those that saw the first
// member of the set in that hour, of which the lower bound knows only the visits that entered through it. Where the two bounds are
// equal the number is exact; else Value.AtMost is set.
//
// Over several days visitors are the sum of the daily ones. By hour they are distinct within the hour. A visitor
// is booked on the source and entry page of the first visit of the day, so visitors by source add up to all
// visitors. An event that comes before the first page view of its visit has no entry page under filters over
// single hits; and visitors and visits of an event, hostname or property are those of the entry page that was known at
// the first of it. Engaged time and scroll depth are booked on the page, without the page before it.
//
// Bounce rate, visit duration and views per visit under filters that ask of single hits for pages only speak of the visits that
// entered there: the entry page stands for the page in the whole tree. Under other columns of single hits they are null.
//
// # What is let go
//
// When a day is over at its site, its runs become one and a rollup is written: sums by one dimension at a time. Some days
// later the hour leaves the tuples, and the totals of each hour stay in the rollup (Retention.Hours); then the tuples go
// and the rollup stays (Detail); then the rollup goes too (Totals). Rollups of a calendar month are summed up once more,
// for reports over years. Questions that come too late have no answer:
// ErrNotKept. An import opens a day again, and it is closed once more. What has been replaced or deleted leaves Badger's
// files within the hour, at once after a removal, and always before Purge returns.
//
// # Faults
//
// While too little space is free on the disk, nothing is written: Append fails with ErrUnavailable, and works again
// once there is space.
//
// Open reads all files before Badger does: every block of every table, all logs and the manifest. Badger would go on
// without what it cannot read, and answer with a wrong number. So Open either finds everything that a commit brought to
// the disk, or fails with ErrDamaged, names the file and the remedy, and has changed nothing. A commit that the end of
// the process cut short is dropped, as nobody was told that it is stored. Reading takes about as long as it takes to
// copy the files to memory. Tables are read again every few hours; once one is found damaged then, Query fails with
// ErrDamaged, and Append goes on.
//
// # Durability
//
// Append and Batch.Wait return after the commit: what they accepted survives the end of the process at any
// moment. A commit is a small run on the disk, which only the next start reads: its sums are in memory too, where queries
// find them, until they are enough to be written as one run. A power cut may take the last second, unless Options.Sync is set.
//
// # Backups
//
// Backup writes one state of the store while everything else goes on; Restore makes a store of it. What lies between a
// backup and its base is told by the list of runs and not by time, so a chain restores exactly the last state. A directory
// in which a restore was cut short does not open. Options.EncryptionKey encrypts the store, and not its backups.
//
// # Concurrency
//
// All methods of DB may be called from many goroutines. One goroutine commits, one merges runs, one syncs; Close
// waits for them. Queries read one consistent state of the store and never wait for writers.
package storage
