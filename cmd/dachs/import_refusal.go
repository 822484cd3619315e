package main

import (
	"time"

	"dachs/storage"
	"dachs/tracker"
)

// importRefusals are the refused lines of a log that the site's owner is told of, as of live hits. What is no visit of a page
// at all is only in the report of the import, and who objects changes nothing (see logPrint).
type importRefusals map[importRefusal]int64

type importRefusal struct {
	day  storage.Day
	hour int
	why  tracker.Reason
}

func (n *importRefusals) add(local time.Time, why tracker.Reason) {
	switch why {
	case tracker.Bot, tracker.Prefetch, tracker.Spam, tracker.DataCentre, tracker.Network, tracker.Agent, tracker.Host, tracker.Path, tracker.Country:
		if *n == nil {
			*n = make(importRefusals)
		}
		(*n)[importRefusal{storage.DayOf(local), local.Hour(), why}]++
	}
}

// rows appends what was gathered.
func (n importRefusals) rows(site uint32, rows []storage.Row) []storage.Row {
	for k, count := range n {
		rows = append(rows, storage.NoteRow(site, k.day, k.hour, storage.KindRefused, k.why.String(), count))
	}
	return rows
}
