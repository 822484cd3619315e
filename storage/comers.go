package storage

import (
	"cmp"
	"slices"
)

// This file counts those who come to a set of pages: all that pass a filter such as "contains".

// origin is where those came from for whom a row is the first of its page in a visit, a day or an hour.
type origin uint8

const (
	fromNowhere origin = iota // it is their first page view
	fromOutside               // neither the page before nor the entry page is in the set
	fromInside

	originStride = 4 // a power of two is quicker to multiply by than 3
)

// comers are the rows of page views that say that this is the first of it. Jobs with the same filters share them.
type comers struct {
	rows  []uint32
	from  []origin // by row of the block
	reach []reach  // of each of rows; visitors are those of the day, or of the hour if the job asks by hour
	pages []int    // where in rows each page ends: rows are sorted by page
}

// comersTo selects the comers among the page views that pass the filters of a job. What the set is may depend on the row: a
// page is in it if the row would pass the filters with that page in place of its own. Conditions that do not ask for the
// page are known to hold.
func (v *view) comersTo(j *job, views []uint32) (*comers, error) {
	visitors, key := HitVisitors, j.filters(v)
	if j.q.Interval == ByHour {
		visitors, key = HourVisitors, key+"by hour"
	}
	if c, ok := v.comers[key]; ok {
		return c, nil
	}
	if err := v.loadMeasures(visitors, HitVisits); err != nil {
		return nil, err
	}
	if err := v.loadColumns(Path, Previous, Entry); err != nil {
		return nil, err
	}
	c := &comers{}
	v.cutPages(c, views, &v.amounts[visitors], &v.amounts[HitVisits])
	if err := v.origins(j, c); err != nil {
		return nil, err
	}
	v.comers[key] = c
	return c, nil
}

// cutPages keeps the rows that somebody is counted by, and finds where each page ends.
func (v *view) cutPages(c *comers, views []uint32, visitors, visits *amounts) {
	path := &v.axes[Path]
	if v.run.memory != nil { // in no order
		views = slices.Clone(views)
		slices.SortFunc(views, func(a, b uint32) int { return cmp.Compare(path.code(a), path.code(b)) })
	}
	rows, reaches := v.arena.open(len(views)), v.reaches.open(len(views))
	last := uint16(0)
	for _, row := range views {
		r := reach{visitors.at(row), visits.at(row)}
		if r == (reach{}) {
			continue
		}
		if page := path.code(row); page != last || len(rows) == 0 {
			if len(rows) > 0 {
				c.pages = append(c.pages, len(rows))
			}
			last = page
		}
		rows, reaches = append(rows, row), append(reaches, r)
	}
	c.pages = append(c.pages, len(rows))
	c.rows, c.reach = v.arena.keep(rows), v.reaches.keep(reaches)
}

// origins finds where the comers came from.
func (v *view) origins(j *job, c *comers) error {
	c.from = v.origin.room(v.rows)
	mark := func(rows []uint32, from origin) {
		for _, row := range rows {
			c.from[row] = from
		}
	}
	notEmpty := func(path string) bool { return path != "" }
	later := v.narrow(c.rows, Previous, notEmpty)
	mark(c.rows, fromNowhere)
	mark(later, fromOutside)
	for _, standIn := range []Column{Previous, Entry} {
		inSet := v.narrow(later, standIn, notEmpty)
		for _, cond := range j.plan.conditions {
			if !cond.uses(Path) || len(inSet) == 0 {
				continue
			}
			var err error
			inSet, err = v.keep(inSet, cond, func(c Column) Column {
				if c == Path {
					return standIn
				}
				return c
			})
			if err != nil {
				return err
			}
		}
		mark(inSet, fromInside)
	}
	return nil
}

// tally is what the rows of a slot say of a set of pages.
type tally struct {
	page [originStride]reach // of the page that is being read; zero between pages
	all  [originStride]reach // of those before it
	best reach               // the most that one of them has
}

// addPages adds those who come to a set of pages. The rows have got their slots from addHits.
func (v *view) addPages(j *job, gs groups, axes []axis, views []uint32, touched map[*group]*job) error {
	if len(views) == 0 {
		return nil
	}
	c, err := v.comersTo(j, views)
	if err != nil {
		return err
	}
	byHour := j.q.Interval == ByHour
	day := func(slot int) *groupDay { return j.group(gs, v.key(j, slot, axes)).today(j, touched) }
	v.tally(c, func(page []uint32, slot int, r reach) {
		if byHour {
			r[1] = 0 // may have been on another page of the set in the hour before
		}
		day(slot).add(j, v.pathNumber(v.axes[Path].code(page[0])), r)
	})
	for slot := range v.tallies {
		t := &v.tallies[slot]
		if t.all == ([originStride]reach{}) {
			continue
		}
		entries, upper, best := t.all[fromNowhere], t.all[fromNowhere], t.best
		upper.add(t.all[fromOutside])
		if byHour {
			upper[0] += t.all[fromInside][0] // may have been in the set since the hour before: the plain sum is the bound
			best[1] = 0
			if j.plan.unit != unitPath && !j.plan.oneMember {
				entries[1] = 0 // an event may have come in the hour before
			}
		}
		d := day(slot)
		d.entries.add(entries)
		d.best.atLeast(best)
		v.sums[upperVisitors][slot], v.sums[upperVisits][slot] = upper[0], upper[1]
	}
	v.flush(j, gs, axes, upperVisitors, upperVisits)
	return nil
}

// tally counts the comers to each page by slot. Of a page that has, or may have, rows in other blocks of the day it calls part
// with what each slot has here; other pages count for the best ones.
func (v *view) tally(c *comers, part func(page []uint32, slot int, r reach)) {
	v.tallies = slices.Grow(v.tallies[:0], len(v.keys))[:len(v.keys)]
	tallies, slots, origins := v.tallies, v.slots, c.from
	clear(tallies)
	var met []uint32 // slots that have rows of the page, some of them more than once
	start := 0
	for _, end := range c.pages {
		page, reaches := c.rows[start:end], c.reach[start:end:end]
		reaches = reaches[:len(page)]
		whole := v.alone && start > 0 && end < len(c.rows)
		start = end
		done := func(slot int) {
			t := &tallies[slot]
			if t.page == ([originStride]reach{}) {
				return
			}
			var all reach
			for from := range originStride - 1 {
				t.all[from].add(t.page[from])
				all.add(t.page[from])
			}
			t.page = [originStride]reach{}
			if whole {
				t.best.atLeast(all)
			} else if all != (reach{}) {
				part(page, slot, all)
			}
		}
		if len(page) >= len(tallies) { // most slots have some
			for i, row := range page {
				tallies[slots[row]].page[origins[row]%originStride].add(reaches[i])
			}
			for slot := range tallies {
				done(slot)
			}
			continue
		}
		met = met[:0]
		for i, row := range page {
			slot := slots[row]
			tallies[slot].page[origins[row]%originStride].add(reaches[i])
			met = append(met, slot)
		}
		for _, slot := range met {
			done(int(slot))
		}
	}
}

// pathNumber returns the number of a path by its code.
func (v *view) pathNumber(code uint16) uint32 {
	if len(v.paths) == 0 {
		v.paths = slices.Grow(v.paths, len(v.axes[Path].dict))[:len(v.axes[Path].dict)]
		clear(v.paths)
	}
	if v.paths[code] == 0 {
		v.paths[code] = v.numbers.of(member{unitPath, [2]string{v.axes[Path].dict[code]}})
	}
	return v.paths[code]
}
