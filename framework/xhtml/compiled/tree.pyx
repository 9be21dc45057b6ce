# cython: auto_pickle=False, binding=True
"""The working part of the tree: what a node holds, adding, and writing in one go. No searching, no streaming here.

The twin is framework.xhtml.pure.tree. Only of `Element` itself are the fields read as they lie here; a subclass may
have properties in their place (`Rows`), so it is asked by name.
"""

from cpython.weakref cimport PyWeakref_NewRef

from collections.abc import Iterable

from framework.xhtml import attributes as values
from framework.xhtml import escape, names
from framework.xhtml.attributes import prefix_of, special_attribute, value_text
from framework.xhtml.names import attribute_name, check_tag

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *where) except *
    void Py_LeaveRecursiveCall()

cdef frozenset _known = names.KNOWN_ELEMENTS
cdef frozenset _special = names.SPECIAL_ELEMENTS
cdef dict _prefixes = values.prefixes
cdef object _escape = escape.escape_text
cdef object _attribute = escape.attribute
cdef object _iterable = Iterable
cdef type _plain = None
cdef type _fragment = None
cdef object _tags_of = None
cdef object _write_foreign = None
cdef object _recorder = None
cdef dict _names = {}
cdef dict _tag_texts = {}

cdef enum:
    KEPT_NAMES = 1024
    FEW_NODES = 8  # compared each with each


def bind(element, fragment, tags_of, write_foreign):
    """Say what the tree is made of: `Element` and `Fragment`, and what writes the elements that are out of the
    ordinary.
    """
    global _plain, _fragment, _tags_of, _write_foreign
    _plain, _fragment, _tags_of, _write_foreign = element, fragment, tags_of, write_foreign


def record(recorder):
    """Say what gives each new element its `origin`, or None: nobody remembers it."""
    global _recorder
    _recorder = recorder


def flatten(content, list into not None):
    """Append content to a list of texts and nodes. TypeError for what is no content (bytes, a dict)."""
    cdef list fragments = []
    _flatten(content, into, fragments)
    for fragment in fragments:
        fragment.release()


cdef int _flatten(object content, list into, list fragments) except -1:
    """The same, except that the fragments whose content it is are still to be emptied."""
    if type(content) is str or type(content) is _plain:
        into.append(content)
    elif content is None or content is True or content is False:
        pass
    elif isinstance(content, str):
        into.append(str.__str__(content))
    elif isinstance(content, Base):
        if isinstance(content, _fragment):
            _flatten_fragment(<Branch>content, into, fragments)
        else:
            into.append(content)
    else:
        Py_EnterRecursiveCall(" in content")
        try:
            _flatten_other(content, into, fragments)
        finally:
            Py_LeaveRecursiveCall()
    return 0


cdef int _flatten_fragment(Branch content, list into, list fragments) except -1:
    for fragment in fragments:
        if fragment is content:
            return 0
    into.extend(_children_of(content))
    fragments.append(content)
    return 0


cdef int _flatten_other(object content, list into, list fragments) except -1:
    if type(content) is list or type(content) is tuple:
        for item in content:
            _flatten(item, into, fragments)
    elif hasattr(content, "__xhtml__"):
        _flatten(content.__xhtml__(), into, fragments)
    elif isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes are no text: decode them first ({bytes(content[:20])!r})")
    elif isinstance(content, dict):
        raise TypeError("a dict is no content; use add_definition_list() or add_table()")
    elif isinstance(content, _iterable) and not _has_text(type(content)):
        for item in content:
            _flatten(item, into, fragments)
    else:
        into.append(str.__str__(str(content)))  # __str__ may give a subclass
    return 0


cdef bint _has_text(object kind):
    """Whether a type says how it is shown (an IP network does, a list does not)."""
    return kind.__str__ is not object.__str__


cdef class Base:
    """What every node has: a weak reference to its parent, or None."""

    cdef object __weakref__
    cdef public object _parent


cdef class Branch(Base):
    """What every element has: tag, attributes, children; see `framework.xhtml.nodes.Element`."""

    cdef public object tag
    cdef public object _attributes
    cdef public object _children

    def __init__(self, tag, /, *content, **attributes):
        _begin(self, tag, content, attributes)

    def add(self, tag, /, *content, **attributes):
        """Make an element as `Element(tag, *content, **attributes)` does, append it, and return it."""
        return _grow(self, tag, content, attributes)

    def append(self, *content):
        """Add content behind the last child; returns this element."""
        _insert(self, len(_children_of(self)), content)
        return self

    def insert(self, index, *content):
        """Add content at a position among the children. A node that stands elsewhere moves here.

        Raises ValueError where a node would come to stand within itself, or is given twice.
        """
        _insert(self, slice(index, None).indices(len(_children_of(self)))[0], content)
        return self

    def _write(self, list parts not None):
        """Append the text of this element, and of all that is in it, to a list."""
        _write_element(self, parts)


cdef inline object _children_of(Branch element):
    return element._children if type(element) is _plain else (<object>element)._children


cdef object _keep_children(Branch element, object children):
    if type(element) is _plain:
        element._children = children
    else:
        setattr(element, "_children", children)


cdef int _begin(Branch element, object tag, tuple content, dict attributes) except -1:
    """Give a new element what it holds."""
    if tag not in _known:
        check_tag(tag)
    element.tag = tag
    element._parent = None
    element._attributes = _named(attributes) if attributes else None
    if not content or (len(content) == 1 and type(content[0]) is str):
        _keep_children(element, content)
    else:
        _keep_children(element, ())
        _insert(element, 0, content)
    if _recorder is not None:
        (<object>element).origin = _recorder()
    return 0


cdef Branch _grow(Branch self, object tag, tuple content, dict attributes):
    """Make an element, append it, and return it."""
    if tag not in _known:
        check_tag(tag)
    cdef Branch child = <Branch>_plain.__new__(_plain)
    child.tag = tag
    child._attributes = _named(attributes) if attributes else None
    child._parent = PyWeakref_NewRef(self, None)
    if not content or (len(content) == 1 and type(content[0]) is str):
        child._children = content
    else:
        child._children = ()
        _insert(child, 0, content)
    children = _children_of(self)
    if type(children) is list:
        (<list>children).append(child)
    else:
        _keep_children(self, [*children, child])
    if _recorder is not None:
        (<object>child).origin = _recorder()
    return child


cdef dict _named(dict attributes):
    """Attributes by the names that they are written by."""
    cdef dict named = {}
    for key, value in attributes.items():
        name = _names.get(key)
        if name is None:
            name = attribute_name(key)
            if len(_names) < KEPT_NAMES:
                _names[key] = name
        named[name] = value
    return named


cdef int _insert(Branch element, Py_ssize_t place, tuple content) except -1:
    """Put content at a position among the children. All is looked at before anything moves."""
    cdef list pieces = []
    cdef list nodes = []
    cdef list fragments = []
    for item in content:
        _flatten(item, pieces, fragments)
    for piece in pieces:
        if type(piece) is not str:
            nodes.append(piece)
    if _has_same(nodes):
        raise ValueError("the same node is given twice; use clone() for a copy")
    for node in nodes:
        if isinstance(node, Branch):
            _refuse_cycle(element, <Branch>node)
        elif not isinstance(node, Base):
            raise TypeError(f"{type(node).__name__} is neither text nor node")
    for fragment in fragments:
        fragment.release()
    me = PyWeakref_NewRef(element, None) if nodes else None
    for node in nodes:
        if (<Base>node)._parent is None:
            (<Base>node)._parent = me
            continue
        old = (<Base>node)._parent()
        if old is not None:
            if old is element and node.index < place:
                place -= 1
            node.remove()
        (<Base>node)._parent = me
    children = _children_of(element)
    if type(children) is list:
        children[place:place] = pieces
    elif not children:
        _keep_children(element, pieces)
    else:
        _keep_children(element, [*children[:place], *pieces, *children[place:]])
    return 0


cdef bint _has_same(list nodes):
    cdef Py_ssize_t count = len(nodes), one, other
    if count > FEW_NODES:
        return len({id(node) for node in nodes}) < count
    for one in range(1, count):
        for other in range(one):
            if nodes[one] is nodes[other]:
                return True
    return False


cdef int _refuse_cycle(object element, Branch node) except -1:
    above = element
    while above is not None:
        if above is node:
            raise ValueError(f"<{node.tag}> cannot stand within itself")
        parent = (<Base?>above)._parent
        above = None if parent is None else parent()
    return 0


def method_of(tag):
    """A method that adds an element of this tag."""

    def method(Branch self not None, /, *content, **attributes):
        return _grow(self, tag, content, attributes)

    return method


def function_of(tag):
    """A function that makes an element of this tag, without a parent."""

    def function(*content, **attributes):
        element = <Branch>_plain.__new__(_plain)
        _begin(element, tag, content, attributes)
        return element

    return function


def attribute_text(element):
    """The attributes of an element as they stand in its start tag, each after a space."""
    attributes = element._attributes
    return _attribute_text(element, attributes) if attributes else ""


cdef str _attribute_text(object element, dict attributes):
    cdef str text = ""
    for name, value in attributes.items():
        if value is None:
            continue
        prefix = _prefixes.get(name)
        if prefix is None:
            prefix = prefix_of(name)
        if prefix is None:
            text += <str>special_attribute(element, name, value)
        elif type(value) is str:
            escaped = _escape(value)
            if not (<str>escaped).isprintable():
                escaped = _attribute(value)
            text = f'{text}{<str>prefix}{<str>escaped}"'
        elif value is True:
            text = f'{text}{<str>prefix}"'
        elif value is not False:
            text = f'{text}{<str>prefix}{<str>_attribute(value_text(value))}"'
    return text


cdef tuple _texts_of(object tag):
    """Start tag, start tag as far as its attributes, end tag, and what writes the inside, None for the children."""
    writer = _write_foreign if tag == "foreignObject" else _write_special if tag in _special else None
    texts = (f"<{tag}>", f"<{tag}", f"</{tag}>", writer)
    if len(_tag_texts) < KEPT_NAMES:
        _tag_texts[tag] = texts
    return texts


cdef int _write_element(Branch element, list parts) except -1:
    known = _tag_texts.get(element.tag)
    cdef tuple texts = <tuple>known if known is not None else _texts_of(element.tag)
    writer = texts[3]
    if writer is _write_special:
        writer(element, parts)
        return 0
    if element._attributes:
        parts.append(texts[1])
        parts.append(_attribute_text(element, element._attributes))
        parts.append(">")
    else:
        parts.append(texts[0])
    if writer is None:
        _write_children(element, parts)
    else:
        writer(element, parts)
    parts.append(texts[2])
    return 0


def _write_special(Branch element, list parts):
    start, content, end = _tags_of(element)
    parts.append(start)
    if content is None:
        _write_children(element, parts)
    else:
        parts.append(content)
    parts.append(end)


def write_children(Branch element not None, list parts not None):
    """Append the text of what is in an element, without its own tags."""
    _write_children(element, parts)


cdef int _write_children(Branch element, list parts) except -1:
    children = _children_of(element)
    if not children:
        return 0
    if type(children) is tuple and type((<tuple>children)[0]) is str and len(<tuple>children) == 1:
        parts.append(_escape((<tuple>children)[0]))
        return 0
    Py_EnterRecursiveCall(" while a tree is written")
    try:
        for child in children:
            _write_child(child, parts)
    finally:
        Py_LeaveRecursiveCall()
    return 0


cdef inline int _write_child(object child, list parts) except -1:
    if type(child) is str:
        parts.append(_escape(child))
    elif type(child) is _plain:
        _write_element(<Branch>child, parts)
    else:
        child._write(parts)
    return 0
