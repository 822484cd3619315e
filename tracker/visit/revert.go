package visit

// Undo takes back one Record. Several must be taken back in reverse order.
type Undo struct {
	id      ID
	existed bool
	visitor visitor // as it was
	visit   visit   // that was held of the visitor; number 0 if there was none
	engaged page    // as it was before an engagement; else nothing
	page    uint32  // that an engagement changed, or that the hit opened; 0 if none
	seen    [3]undoSeen
	n       int
}

// undoSeen is the page or event, the properties, or the hostname before the hit.
type undoSeen struct {
	before  seen
	existed bool
}

// Revert takes back what a Record changed, but for names and the room of the table: pages, hostnames, attributes and
// origins that it introduced stay until midnight, and so does what they are counted with. It does nothing after Close,
// nor for the zero Undo.
func (t *Table[A, O]) Revert(u *Undo) {
	number := t.visitors.find(u.id)
	if number == 0 {
		return
	}
	v := t.visitors.at(number)
	t.revertPage(v, u)
	for i := u.n - 1; i >= 0; i-- {
		was := &u.seen[i]
		s := t.seen.find(was.before.thing)
		switch {
		case s == nil:
		case was.existed:
			*s = was.before
		default:
			t.seen.drop(was.before.thing)
		}
	}
	t.revertVisit(v, u)
	if !u.existed {
		t.visitors.drop(number)
	}
}

func (t *Table[A, O]) revertPage(v *visitor, u *Undo) {
	s := t.open(v)
	if s == nil || u.page == 0 {
		return
	}
	if u.engaged.tag == 0 {
		t.dropPage(s, u.page)
		return
	}
	if p := t.pages.at(u.page); p.tag == u.engaged.tag {
		p.claimed, p.scroll = u.engaged.claimed, u.engaged.scroll
	}
}

// revertVisit makes a visitor and the visit that is held of them what they were.
func (t *Table[A, O]) revertVisit(v *visitor, u *Undo) {
	if now := v.open; now != 0 && (now != u.visitor.open || t.visits.at(now).number != u.visit.number) {
		t.endVisit(now) // the hit had begun it
	}
	if !u.existed {
		return
	}
	if *v = u.visitor; v.open == 0 {
		return
	}
	s := t.visits.at(v.open)
	if s.of != u.id || s.number != u.visit.number {
		v.open = 0 // let go since
		return
	}
	pages := s.pages
	*s = u.visit
	s.pages = pages
}
