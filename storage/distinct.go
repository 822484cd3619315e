package storage

import (
	"cmp"
	"slices"
	"strings"
)

// This file counts rows of the table Hits: hits, and the visitors and visits for whom a hit was the first of it.
//
// Where a group holds one "it" (page, event name, hostname) the sum of "first of it" is the exact number. Where it
// may hold several, the sum over rows that come from outside the set is an upper bound: whoever has a hit in the
// set is counted at the first such hit, since the page before it lay outside and the entry page too, unless the
// hit is the entry; and is counted twice only after leaving the set and coming back to another page of it. The
// lower bound of a day is the larger of those who entered the site through the set, and the most visited member.

// groupDay is what a group knows of the day that is being read.
type groupDay struct {
	entries [2]int64 // visitors, visits
	best    [2]int64 // the most that a member has of which all rows have been seen
	singles []single // other members
}

// single is what one member, or a part of its rows, has: visitors, visits.
type single struct {
	number uint32
	sums   [2]int64
}

// member is one "it" of a set.
type member struct {
	kind unit // an event may have the name of a path
	it   [2]string
}

// numbers gives the members of a day's sets numbers from 1, so that groups need not compare texts.
type numbers map[member]uint32

func (n numbers) of(m member) uint32 {
	id, ok := n[m]
	if !ok {
		for i, it := range m.it {
			m.it[i] = strings.Clone(it) // would keep the dictionary of a whole block
		}
		id = uint32(len(n)) + 1
		n[m] = id
	}
	return id
}

func (g *group) today(j *job, touched map[*group]*job) *groupDay {
	if g.day == nil {
		g.day = &groupDay{}
		touched[g] = j
	}
	return g.day
}

// add notes what a block has of a member. Blocks are sorted by members, so that most come in the order of their numbers.
func (d *groupDay) add(j *job, number uint32, visitors, visits int64) {
	if last := len(d.singles) - 1; last >= 0 && d.singles[last].number == number {
		d.singles[last].sums[0] += visitors
		d.singles[last].sums[1] += visits
		return
	}
	j.hold(1)
	d.singles = append(d.singles, single{number, [2]int64{visitors, visits}})
}

// settle adds the day's lower bounds.
func (g *group) settle(j *job) {
	low, all := g.day.entries, g.day.singles
	low[0], low[1] = max(low[0], g.day.best[0]), max(low[1], g.day.best[1])
	if byNumber := func(a, b single) int { return cmp.Compare(a.number, b.number) }; !slices.IsSortedFunc(all, byNumber) {
		slices.SortFunc(all, byNumber)
	}
	for len(all) > 0 {
		sums, same := all[0].sums, 1
		for ; same < len(all) && all[same].number == all[0].number; same++ {
			sums[0] += all[same].sums[0]
			sums[1] += all[same].sums[1]
		}
		low[0], low[1] = max(low[0], sums[0]), max(low[1], sums[1])
		all = all[same:]
	}
	g.low[0] += low[0]
	g.low[1] += low[1]
	j.hold(-int64(len(g.day.singles)))
	g.day = nil
}

// chosen are the rows that pass the filters of a job, and what of them jobs with the same filters share.
type chosen struct {
	views, customs, hosts []uint32 // by kind
	compared              bool     // the next ones are known
	coming                []uint32 // of views: those that are the first of it in a visit, a day or an hour
	first, outside        []uint32 // of these: see comers
	pages                 []int    // where in coming each page ends: rows are sorted by page
	visitors, hourly      []int64  // of coming: HitVisitors, HourVisitors
	visits                []int64  // of coming: HitVisits
}

// chosenHits parts the selection of a job by kind.
func (v *view) chosenHits(j *job, sel []uint32) (chosen, error) {
	if c, ok := v.hits[j.filters(v)]; ok {
		return c, nil
	}
	if err := v.loadColumns(Kind); err != nil {
		return chosen{}, err
	}
	only := func(kind string) []uint32 {
		return v.narrow(sel, Kind, func(value string) bool { return value == kind })
	}
	c := chosen{views: only(KindPageView), customs: only(KindEvent), hosts: only(KindHost)}
	v.hits[j.filters(v)] = c
	return c, nil
}

// hitFields are the fields that addHits fills besides those of sets.
var hitFields = []field{exactVisitors, exactVisits, pageViews, events, pageVisits, engaged, scrollSum, scrollCount}

// addHits adds rows of the table Hits.
func (v *view) addHits(j *job, gs groups, sel []uint32, touched map[*group]*job) error {
	rows, err := v.chosenHits(j, sel)
	if err != nil {
		return err
	}
	p := j.plan
	axes, err := v.groupAxes(j)
	if err != nil {
		return err
	}
	if p.unit == unitPath && p.set && !p.countsSingle() && !v.rolled() {
		if rows, err = v.comers(j, rows); err != nil {
			return err
		}
		sel = rows.coming // nothing else is asked for
	}
	v.slot(sel, axes)
	if err := v.sumSingle(p, rows.views, rows.customs); err != nil {
		return err
	}
	distinct := p.unit != unitVisit && (p.wants[Visitors] || p.wants[VisitsTotal])
	visitors := HitVisitors
	if j.q.Interval == ByHour {
		visitors = HourVisitors
	}
	if distinct && (!p.set || v.rolled()) { // a rollup by name counts page views of the name once, too
		if err := v.loadMeasures(visitors, HitVisits); err != nil {
			return err
		}
		firsts := map[unit][]uint32{unitPath: rows.views, unitName: rows.customs, unitHost: rows.hosts}[p.unit]
		if p.set {
			firsts = v.union(rows.views, rows.customs)
		}
		v.sum(exactVisitors, visitors, firsts)
		v.sum(exactVisits, HitVisits, firsts)
	}
	v.flush(j, gs, axes, hitFields...)
	if !distinct || !p.set || v.rolled() {
		return nil
	}
	if p.unit != unitHost {
		if err := v.addPages(j, gs, axes, rows, visitors, touched); err != nil {
			return err
		}
	}
	switch p.unit {
	case unitName:
		return v.addMembers(j, gs, rows.customs, members{it: []Column{Name}, visitors: visitors, visits: HitVisits}, touched)
	case unitProp:
		return v.addMembers(j, gs, rows.customs, members{it: []Column{Name, Props}, visitors: PropVisitors, visits: PropVisits}, touched)
	case unitHost:
		return v.addMembers(j, gs, rows.hosts, members{it: []Column{Hostname}, visitors: visitors, visits: HitVisits}, touched)
	}
	return nil
}

// sumSingle adds what is counted by single hits.
func (v *view) sumSingle(p *plan, views, customs []uint32) error {
	if !p.singleWhole && (p.wants[PageViews] || p.wants[Events]) {
		if err := v.loadMeasures(Count); err != nil {
			return err
		}
		v.sum(pageViews, Count, views)
		v.sum(events, Count, views)
		v.sum(events, Count, customs)
	}
	if p.wants[TimeOnPage] || p.wants[ScrollDepth] {
		if err := v.loadMeasures(HitVisits, Engaged, ScrollSum, ScrollCount); err != nil {
			return err
		}
		v.sum(pageVisits, HitVisits, views)
		v.sum(engaged, Engaged, views)
		v.sum(scrollSum, ScrollSum, views)
		v.sum(scrollCount, ScrollCount, views)
	}
	return nil
}

// members says what the rows of a set of events or hostnames are the first of, and which measures say so.
type members struct {
	it               []Column
	visitors, visits Measure
}

// addMembers adds firsts of a set whose members overlap in an unknown way: at most their sum, at least the largest.
func (v *view) addMembers(j *job, gs groups, sel []uint32, m members, touched map[*group]*job) error {
	if len(sel) == 0 {
		return nil
	}
	axes, err := v.groupAxes(j, m.it...)
	if err != nil {
		return err
	}
	if err := v.loadMeasures(m.visitors, m.visits); err != nil {
		return err
	}
	v.slot(sel, axes)
	v.sum(upperVisitors, m.visitors, sel)
	v.sum(upperVisits, m.visits, sel)
	v.flush(j, gs, axes, upperVisitors, upperVisits)
	its := axes[len(axes)-len(m.it):]
	// A visit that was the first of one member in this hour may have been that of another in the hour before.
	visitsKnown := j.q.Interval != ByHour || j.plan.oneMember
	v.eachSlot(j, gs, axes, upperVisitors, upperVisits, touched, func(d *groupDay, slot int, visitors, visits int64) {
		one := member{kind: j.plan.unit}
		for i, a := range its {
			one.it[i] = a.dict[v.keys[slot][len(axes)-len(its)+i]]
		}
		if !visitsKnown {
			visits = 0
		}
		d.add(j, v.numbers.of(one), visitors, visits)
	})
	return nil
}

// eachSlot calls fn for each slot with visitors or visits, and the day of its group.
func (v *view) eachSlot(j *job, gs groups, axes []axis, fv, fs field, touched map[*group]*job, fn func(d *groupDay, slot int, visitors, visits int64)) {
	for slot := range v.keys {
		if n, m := v.sums[fv][slot], v.sums[fs][slot]; n != 0 || m != 0 {
			fn(j.group(gs, v.key(j, slot, axes)).today(j, touched), slot, n, m)
		}
	}
}

// Fields that are not in use while a set of pages is added: they hold the sums of entries.
const entryVisitors, entryVisits = pageViews, events

// addPages adds firsts of a set of pages. The rows have got their groups from addHits.
func (v *view) addPages(j *job, gs groups, axes []axis, rows chosen, visitors Measure, touched map[*group]*job) error {
	if len(rows.views) == 0 {
		return nil
	}
	if err := v.loadColumns(Path); err != nil {
		return err
	}
	rows, err := v.comers(j, rows)
	if err != nil {
		return err
	}
	v.clearSums()
	byHour := j.q.Interval == ByHour
	upper := rows.outside
	if byHour {
		upper = rows.coming // may have been in the set since the hour before: the plain sum is the bound
	}
	v.sum(entryVisitors, visitors, rows.first)
	v.sum(entryVisits, HitVisits, rows.first)
	v.sum(upperVisitors, visitors, upper)
	v.sum(upperVisits, HitVisits, rows.outside)
	v.flush(j, gs, axes, upperVisitors, upperVisits)
	v.eachSlot(j, gs, axes, entryVisitors, entryVisits, touched, func(d *groupDay, _ int, visitors, visits int64) {
		d.entries[0] += visitors
		if !byHour || j.plan.unit == unitPath || j.plan.oneMember { // else an event may have come in the hour before
			d.entries[1] += visits
		}
	})
	v.eachPage(j, gs, axes, &rows, touched)
	return nil
}

// eachPage notes what each page of a set has in each group. A page whose rows are all in this block is done with at once, if
// there is no other run of the day.
func (v *view) eachPage(j *job, gs groups, axes []axis, rows *chosen, touched map[*group]*job) {
	if cap(v.pairs) < len(v.keys) {
		v.pairs = make([][2]int64, len(v.keys))
	}
	pairs, slots := v.pairs[:len(v.keys)], v.slots // all zero between pages
	days := make([]*groupDay, len(v.keys))
	visitors, byHour := rows.visitors, j.q.Interval == ByHour
	if byHour {
		visitors = rows.hourly
	}
	var met []uint32 // slots that have rows of the page
	from := 0
	for _, to := range rows.pages {
		page := rows.coming[from:to]
		firsts, visits := visitors[from:to][:len(page)], rows.visits[from:to][:len(page)]
		for i, row := range page {
			slot := slots[row]
			pair := &pairs[slot]
			if pair[0]|pair[1] == 0 {
				met = append(met, slot)
			}
			pair[0] += firsts[i]
			pair[1] += visits[i]
		}
		whole := v.alone && from > 0 && to < len(rows.coming)
		for _, slot := range met {
			sums := pairs[slot]
			if pairs[slot] = [2]int64{}; sums == [2]int64{} {
				continue
			}
			if byHour {
				sums[1] = 0 // may have been on another page of the set in the hour before
			}
			if days[slot] == nil {
				days[slot] = j.group(gs, v.key(j, int(slot), axes)).today(j, touched)
			}
			if d := days[slot]; whole {
				d.best[0], d.best[1] = max(d.best[0], sums[0]), max(d.best[1], sums[1])
			} else {
				d.add(j, v.pathNumber(v.axes[Path].code(rows.coming[from])), sums[0], sums[1])
			}
		}
		met, from = met[:0], to
	}
}

// cutPages finds where each page ends in the rows that come to it, and what these rows count.
func (v *view) cutPages(rows *chosen) {
	path := &v.axes[Path]
	for i, row := range rows.coming {
		if i > 0 && path.code(row) != path.code(rows.coming[i-1]) {
			rows.pages = append(rows.pages, i)
		}
	}
	rows.pages = append(rows.pages, len(rows.coming))
	for _, x := range []struct {
		to *[]int64
		m  Measure
	}{{&rows.visitors, HitVisitors}, {&rows.hourly, HourVisitors}, {&rows.visits, HitVisits}} {
		*x.to = v.counts.room(len(rows.coming))
		for i, row := range rows.coming {
			(*x.to)[i] = v.amounts[x.m].at(row)
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

// comers selects the rows that say that this is the first of it; of these the rows of first page views, and those that come
// into the set of pages from outside: the first ones too, and those whose previous and whose entry page are not in the
// set. What the set is may depend on the row: a page is in it if the row would pass the filters with that page in place of
// its own. Conditions that do not ask for the page are known to hold.
func (v *view) comers(j *job, rows chosen) (chosen, error) {
	if rows.compared {
		return rows, nil
	}
	if err := v.loadMeasures(HitVisits, HitVisitors, HourVisitors); err != nil {
		return rows, err
	}
	if err := v.loadColumns(Previous, Entry); err != nil {
		return rows, err
	}
	rows.coming = v.anyOf(rows.views, HitVisits, HitVisitors, HourVisitors)
	rows.first = v.narrow(rows.coming, Previous, func(previous string) bool { return previous == "" })
	rest := v.without(rows.coming, rows.first)
	for _, standIn := range []Column{Previous, Entry} {
		inSet := v.narrow(rest, standIn, func(path string) bool { return path != "" })
		for _, c := range j.plan.conditions {
			if !c.uses(Path) || len(inSet) == 0 {
				continue
			}
			var err error
			inSet, err = v.keep(inSet, c, func(c Column) Column {
				if c == Path {
					return standIn
				}
				return c
			})
			if err != nil {
				return rows, err
			}
		}
		rest = v.without(rest, inSet)
	}
	rows.compared, rows.outside = true, v.union(rows.first, rest)
	v.cutPages(&rows)
	v.hits[j.filters(v)] = rows
	return rows, nil
}

// anyOf keeps the rows of which a measure is not zero.
func (v *view) anyOf(sel []uint32, measures ...Measure) []uint32 {
	found := v.arena.open(len(sel))
	for _, row := range sel {
		for _, m := range measures {
			if v.amounts[m].at(row) != 0 {
				found = append(found, row)
				break
			}
		}
	}
	return v.arena.keep(found)
}
