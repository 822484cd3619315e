package visit

// Record takes a hit into the table and says what it changed. Where it returns an error nothing has changed:
// ErrNoVisit for an Engagement that belongs to no page of an open visit, ErrFull for another hit when the Budget
// is used up.
//
// Of the time that engagements of one page in one visit claim, no more is believed in sum than has passed here
// since the page was first seen in the visit. Honest pages claim each moment once and after it has passed, so
// they keep below that by themselves, whenever a view or an engagement arrives, in whatever order, from several
// windows. Two exceptions lose what they claim too much: a page view that took longer to arrive than the
// engagement after it loses the difference, and people who read the same page at the same time behind one address
// and user agent count as the one visitor that they are taken for.
func (t *Table[A, O]) Record(id ID, h *Hit[A, O]) (c Change[A, O], u Undo, err error) {
	number := t.visitors.find(id)
	if h.Kind == Engagement {
		return t.engage(id, number, h)
	}
	if t.Size() >= Budget {
		return c, u, ErrFull
	}
	if !t.based {
		t.base, t.based = h.At, true
	}
	at := t.since(h.At)
	u = Undo{id: id, existed: number != 0}
	if number == 0 {
		number = t.newVisitor(id, h)
		c.NewVisitor = true
	}
	v := t.visitors.at(number)
	s := t.open(v)
	c.NewVisit = s == nil || s.over(at)
	if u.existed {
		t.before(v, s, &c, &u)
	}
	if c.NewVisit {
		s = t.newVisit(v, h, at)
	} else {
		c.PreviousInVisit = t.paths.get(s.place.exit)
	}
	c.PreviousToday = t.paths.get(v.last)
	t.advance(v, s, h, at)
	t.novelty(v, s, h, &c, &u)
	v.hours |= 1 << h.Hour
	t.finish(v, s, &c)
	return c, u, nil
}

// before notes how a known visitor was: for the change, and to take it back.
func (t *Table[A, O]) before(v *visitor, s *visit, c *Change[A, O], u *Undo) {
	if s != nil {
		v.keepFirst(s)
		u.visit = *s
	}
	u.visitor = *v
	if c.NewVisit {
		s = nil
	} else {
		c.Before = t.export(s)
	}
	c.FirstBefore = t.first(v, s, &c.Before)
	c.HoursBefore = v.hours
}

func (t *Table[A, O]) newVisitor(id ID, h *Hit[A, O]) uint32 {
	attrs, isNew := t.attrs.of(h.Attributes)
	if isNew {
		t.names += valueBytes + h.Attributes.TextSize()
	}
	number := t.visitors.add(id)
	t.visitors.at(number).attrs = attrs
	return number
}

// newVisit begins a visit. The one before it, if it is still held, is let go later: until then the hit can be taken back.
func (t *Table[A, O]) newVisit(v *visitor, h *Hit[A, O], at int32) *visit {
	t.fold(foldStep, at)
	origin, isNew := t.origins.of(h.Origin)
	if isNew {
		t.names += valueBytes + h.Origin.TextSize()
	}
	v.open = t.visits.take()
	v.visits += one(v.visits < lastVisit)
	s := t.visits.at(v.open)
	*s = visit{of: v.id(), start: at, end: at, number: v.visits, hour: h.Hour}
	s.place.origin, s.place.host = origin, t.name(&t.hosts, h.Hostname)
	return s
}

// lastVisit is the highest number of a visit. Visits after it on the same day are counted too, but what they see again is not
// new in them. In order of time a day has no more than 50 of them.
const lastVisit = 255

func one(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// advance moves the open visit on.
func (t *Table[A, O]) advance(v *visitor, s *visit, h *Hit[A, O], at int32) {
	s.start, s.end = min(s.start, at), max(s.end, at)
	if h.Kind == Event {
		s.events++
		s.active = s.active || h.Interactive
		return
	}
	path := t.name(&t.paths, h.Path)
	if s.views == 0 {
		s.place.entry = path
	}
	s.views++
	s.place.exit = path
	v.last = path
}

// novelty finds of what the hit was the first, and notes it.
func (t *Table[A, O]) novelty(v *visitor, s *visit, h *Hit[A, O], c *Change[A, O], u *Undo) {
	if h.Kind == PageView {
		key := t.thingOf(v, seenPath, s.place.exit)
		n, known := t.see(v, h, u, key)
		c.It = n
		if n.Visit {
			known.page = t.pages.take()
			*t.pages.at(known.page) = page{tag: key.tag(), claimed: t.since(h.At), next: s.pages, scroll: -1}
			s.pages, u.page = known.page, known.page
		}
	} else {
		c.It, _ = t.see(v, h, u, t.thing(v, seenEvent, h.Name))
		c.Props, _ = t.see(v, h, u, t.thing(v, seenProps, h.Name, h.Props))
	}
	host := t.name(&t.hosts, h.Hostname)
	if host == s.place.host && s.hours&(1<<h.Hour) != 0 {
		return // as nearly always
	}
	n, known := t.see(v, h, u, t.thingOf(v, seenHost, host))
	if c.Host = n; host == s.place.host {
		s.hours = known.hours & hourBits
	}
}

func (t *Table[A, O]) see(v *visitor, h *Hit[A, O], u *Undo, key thing) (Novelty, *seen) {
	s := t.seen.find(key)
	n := Novelty{Today: s == nil}
	if s == nil {
		s = t.seen.add(key)
	}
	u.seen[u.n] = undoSeen{*s, !n.Today}
	u.n++
	n.Visit = n.Today || s.visit() != v.visits
	n.Hour = s.hours&(1<<h.Hour) == 0
	s.setVisit(v.visits)
	s.hours |= 1 << h.Hour
	return n, s
}

// finish fills in what the change says of the visits after the hit.
func (t *Table[A, O]) finish(v *visitor, s *visit, c *Change[A, O]) {
	c.Attributes = t.attrs.get(v.attrs)
	c.Hours = v.hours
	c.After = t.export(s)
	c.First = t.first(v, s, &c.After)
}

// first returns the visitor's first visit of the day. s is the visit that is held, and as exported.
func (t *Table[A, O]) first(v *visitor, s *visit, as *Visit[O]) Visit[O] {
	if s != nil && s.number == 1 {
		return *as
	}
	return t.exportPlace(&v.first, v.hour)
}

// engage adds an engagement to the page of an open visit. It needs no memory: whatever it names is known or refused.
func (t *Table[A, O]) engage(id ID, number uint32, h *Hit[A, O]) (c Change[A, O], u Undo, err error) {
	path, ok := t.paths.known(h.Path)
	if number == 0 || !ok {
		return c, u, ErrNoVisit
	}
	v, at := t.visitors.at(number), t.since(h.At)
	s := t.open(v)
	if s == nil || s.over(at) {
		return c, u, ErrNoVisit
	}
	on := t.pageOf(v, t.seen.find(t.thingOf(v, seenPath, path)))
	if on == 0 {
		return c, u, ErrNoVisit
	}
	p := t.pages.at(on)
	u = Undo{id: id, existed: true, page: on, engaged: *p}
	t.before(v, s, &c, &u)
	s.end = max(s.end, at)
	c.Engaged = max(min(h.Engaged, int64(at)-int64(p.claimed)), 0)
	p.claimed += int32(c.Engaged)
	if scroll := int8(min(h.Scroll, 100)); scroll > p.scroll {
		c.FirstScroll = p.scroll < 0
		c.Scrolled = int64(scroll) - int64(max(p.scroll, 0))
		p.scroll = scroll
	}
	t.finish(v, s, &c)
	return c, u, nil
}
