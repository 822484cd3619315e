package storage

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
	singles map[string]*[2]int64
}

func (g *group) today(touched map[*group]bool) *groupDay {
	if g.day == nil {
		g.day = &groupDay{singles: make(map[string]*[2]int64)}
		touched[g] = true
	}
	return g.day
}

func (d *groupDay) single(it string, visitors, visits int64) {
	s := d.singles[it]
	if s == nil {
		s = new([2]int64)
		d.singles[it] = s
	}
	s[0] += visitors
	s[1] += visits
}

// settle adds the day's lower bounds.
func (g *group) settle() {
	low := g.day.entries
	for _, s := range g.day.singles {
		low[0], low[1] = max(low[0], s[0]), max(low[1], s[1])
	}
	g.low[0] += low[0]
	g.low[1] += low[1]
	g.day = nil
}

// hitFields are the fields that addHits fills besides those of sets.
var hitFields = []field{exactVisitors, exactVisits, pageViews, events, pageVisits, engaged, scrollSum, scrollCount}

// addHits adds rows of the table Hits.
func (v *view) addHits(j *job, gs groups, sel []uint32, touched map[*group]bool) error {
	if err := v.loadColumns(Kind); err != nil {
		return err
	}
	only := func(kind string) []uint32 {
		return v.narrow(sel, Kind, func(value string) bool { return value == kind })
	}
	views, customs, hosts := only(KindPageView), only(KindEvent), only(KindHost)
	p := j.plan
	visitors := HitVisitors
	if j.q.Interval == ByHour {
		visitors = HourVisitors
	}
	cols := v.groupColumns(j)
	if err := v.slot(sel, cols); err != nil {
		return err
	}
	if err := v.sumSingle(p, views, customs); err != nil {
		return err
	}
	if p.unit == unitVisit || !p.wants[Visitors] && !p.wants[VisitsTotal] {
		v.flush(j, gs, cols, hitFields...)
		return nil
	}
	if err := v.loadMeasures(visitors, HitVisits); err != nil {
		return err
	}
	if !p.set {
		firsts := map[unit][]uint32{unitPath: views, unitName: customs, unitHost: hosts}[p.unit]
		v.sum(exactVisitors, visitors, firsts)
		v.sum(exactVisits, HitVisits, firsts)
	}
	v.flush(j, gs, cols, hitFields...)
	if !p.set {
		return nil
	}
	switch p.unit {
	case unitPath:
		return v.addPages(j, gs, views, visitors, touched)
	case unitName:
		if err := v.addPages(j, gs, views, visitors, touched); err != nil {
			return err
		}
		return v.addMembers(j, gs, customs, Name, visitors, touched)
	default:
		return v.addMembers(j, gs, hosts, Hostname, visitors, touched)
	}
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

// addMembers adds firsts of a set whose members overlap in an unknown way: at most their sum, at least the largest.
func (v *view) addMembers(j *job, gs groups, sel []uint32, it Column, visitors Measure, touched map[*group]bool) error {
	if len(sel) == 0 {
		return nil
	}
	cols := append(j.groupColumns(Hits), it)
	if err := v.slot(sel, cols); err != nil {
		return err
	}
	v.sum(upperVisitors, visitors, sel)
	v.sum(upperVisits, HitVisits, sel)
	v.flush(j, gs, cols, upperVisitors, upperVisits)
	v.eachSlot(j, gs, cols, upperVisitors, upperVisits, touched, func(d *groupDay, slot int, visitors, visits int64) {
		d.single(v.dicts[it][v.keys[slot][len(cols)-1]], visitors, visits)
	})
	return nil
}

// eachSlot calls fn for each slot with visitors or visits, and the day of its group.
func (v *view) eachSlot(j *job, gs groups, cols []Column, fv, fs field, touched map[*group]bool, fn func(d *groupDay, slot int, visitors, visits int64)) {
	for slot := range v.keys {
		if n, m := v.sums[fv][slot], v.sums[fs][slot]; n != 0 || m != 0 {
			fn(gs.get(v.key(j, slot, cols)).today(touched), slot, n, m)
		}
	}
}

// addPages adds firsts of a set of pages.
func (v *view) addPages(j *job, gs groups, sel []uint32, visitors Measure, touched map[*group]bool) error {
	if len(sel) == 0 {
		return nil
	}
	if err := v.loadColumns(Path, Previous, Entry); err != nil {
		return err
	}
	cols := append(j.groupColumns(Hits), Path)
	if err := v.slot(sel, cols); err != nil {
		return err
	}
	first := v.narrow(sel, Previous, func(previous string) bool { return previous == "" })
	outside := v.fromOutside(j, sel)
	// The other fields are not in use here: they hold the sums of entries and of members.
	const entryVisitors, entryVisits, pageVisitors, pageVisits = pageViews, events, exactVisitors, exactVisits
	v.sum(pageVisitors, visitors, sel)
	v.sum(pageVisits, HitVisits, sel)
	v.sum(entryVisitors, visitors, first)
	v.sum(entryVisits, HitVisits, first)
	v.sum(upperVisits, HitVisits, outside)
	if j.q.Interval == ByHour {
		v.sum(upperVisitors, visitors, sel) // may have been in the set since the hour before: the plain sum is the bound
	} else {
		v.sum(upperVisitors, visitors, outside)
	}
	v.flush(j, gs, cols, upperVisitors, upperVisits)
	v.eachSlot(j, gs, cols, pageVisitors, pageVisits, touched, func(d *groupDay, slot int, visitors, visits int64) {
		d.entries[0] += v.sums[entryVisitors][slot]
		d.entries[1] += v.sums[entryVisits][slot]
		d.single("\x00"+v.dicts[Path][v.keys[slot][len(cols)-1]], visitors, visits) // apart from events of that name
	})
	return nil
}

// fromOutside selects the rows that come into the set of pages from outside. The set is what the filters over paths
// describe; without any it is every page.
func (v *view) fromOutside(j *job, sel []uint32) []uint32 {
	inSet := func(path string) bool {
		for i := range j.q.Filters {
			if f := &j.q.Filters[i]; f.Column == Path && !f.passes(path) {
				return false
			}
		}
		return path != ""
	}
	previous, entry := make([]bool, len(v.dicts[Previous])), make([]bool, len(v.dicts[Entry]))
	for code, path := range v.dicts[Previous] {
		previous[code] = inSet(path)
	}
	for code, path := range v.dicts[Entry] {
		entry[code] = inSet(path)
	}
	none := -1
	if v.dicts[Previous][0] == "" { // dictionaries are sorted
		none = 0
	}
	outside := make([]uint32, 0, len(sel))
	for _, row := range sel {
		code := v.codes[Previous][row]
		if int(code) == none || !previous[code] && !entry[v.codes[Entry][row]] {
			outside = append(outside, row)
		}
	}
	return outside
}
