// MD5 (RFC 1321) of a text whose characters are octets, and the answer to a hotspot's challenge made with it.
'use strict';
var hexMD5 = (function () {
  var shifts = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
  var sines = [];
  for (var i = 0; i < 64; i++) sines[i] = Math.floor(Math.abs(Math.sin(i + 1)) * 4294967296) | 0;

  function words(text) {
    var length = text.length, out = [], size = ((length + 8 >> 6) + 1) * 16;
    for (var i = 0; i < size; i++) out[i] = 0;
    for (i = 0; i < length; i++) out[i >> 2] |= (text.charCodeAt(i) & 255) << i % 4 * 8;
    out[length >> 2] |= 128 << length % 4 * 8;
    out[size - 2] = length * 8;
    return out;
  }

  return function (text) {
    var block = words(String(text)), state = [1732584193, -271733879, -1732584194, 271733878];
    for (var at = 0; at < block.length; at += 16) {
      var a = state[0], b = state[1], c = state[2], d = state[3];
      for (var i = 0; i < 64; i++) {
        var round = i >> 4, mixed, word;
        if (round === 0) { mixed = b & c | ~b & d; word = i; }
        else if (round === 1) { mixed = d & b | ~d & c; word = (5 * i + 1) % 16; }
        else if (round === 2) { mixed = b ^ c ^ d; word = (3 * i + 5) % 16; }
        else { mixed = c ^ (b | ~d); word = 7 * i % 16; }
        var sum = a + mixed + sines[i] + block[at + word] | 0, turn = shifts[round * 4 + i % 4];
        a = d; d = c; c = b;
        b = b + (sum << turn | sum >>> 32 - turn) | 0;
      }
      state = [state[0] + a | 0, state[1] + b | 0, state[2] + c | 0, state[3] + d | 0];
    }
    var out = '';
    for (var n = 0; n < 16; n++) out += (256 + (state[n >> 2] >>> n % 4 * 8 & 255)).toString(16).slice(1);
    return out;
  };
})();

// The router prints octets as a backslash and three octal digits each.
function octets(printed) {
  return printed.replace(/\\([0-3][0-7][0-7])/g, function (all, digits) {
    return String.fromCharCode(parseInt(digits, 8));
  });
}

// The code is user name and password in one; what is not ASCII counts as UTF-8.
function answerChallenge(form) {
  var code = form.elements.username.value.trim();
  form.elements.username.value = code;
  form.elements.password.value = hexMD5(
    octets(form.getAttribute('data-chap-id')) +
    unescape(encodeURIComponent(code)) +
    octets(form.getAttribute('data-chap-challenge')));
}

if (typeof document !== 'undefined') {
  document.addEventListener('submit', function (event) {
    if (event.target.hasAttribute('data-chap-id')) answerChallenge(event.target);
  });
}
