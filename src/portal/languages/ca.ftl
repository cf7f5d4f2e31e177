# Dates follow "dia": "el 23" would be "l’11".

## Why a code is not let in, and what to do next

denied-malformed = Escriviu el codi d’accés que heu rebut.
denied-throttled = Massa codis incorrectes. Espereu uns minuts i torneu-ho a provar.
denied-source-unavailable = Ara no es pot comprovar aquest codi. Torneu-ho a provar d’aquí a un minut.
denied-unknown-code = Aquest codi no existeix. Comproveu-lo i torneu-ho a provar.
denied-unknown-device = Aquest dispositiu no es coneix aquí. Escriviu el vostre codi d’accés.
denied-wrong-location = Aquest codi no és vàlid en aquest espai. Pregunteu a recepció.
denied-ambiguous-code = Aquest codi s’ha donat dues vegades. Demaneu-ne un altre a recepció.
denied-wrong-password = La contrasenya no correspon a aquest codi. Escriviu només el codi.
denied-not-yet-valid = Aquest codi és vàlid a partir del dia { $from }. Torneu-ho a provar aleshores.
denied-not-yet-valid-undated = Aquest codi encara no és vàlid. Torneu-ho a provar més tard.
denied-expired = Aquest codi va caducar el dia { $to }. Demaneu-ne un de nou a recepció.
denied-expired-undated = Aquest codi ha caducat. Demaneu-ne un de nou a recepció.
denied-device-mismatch = Aquest codi és d’un altre dispositiu. Feu servir aquell dispositiu o demaneu el vostre propi codi a recepció.
denied-no-minutes-left = A aquest codi no li queda temps. Demaneu-ne més a recepció.
denied-user-limit-reached =
    { $limit ->
        [one] Aquest codi s’està fent servir en un altre dispositiu. Tanqueu-hi primer la sessió.
       *[other] Aquest codi s’està fent servir en { $limit } dispositius, el màxim permès. Tanqueu primer la sessió en un d’ells.
    }

## The login page

login-code = Codi d’accés
login-go = Connecta’m
login-hint = Escriviu el codi tal com l’heu rebut. No teniu codi? Pregunteu a recepció.
login-terms = Condicions d’ús
hand-over-ready = El vostre codi és vàlid. Un toc més i estareu en línia.
language = Llengua
login-title = Connectar-se

## The status page

status-online = Connexió activa
status-offline = Sense connexió
status-time-left = Temps restant
status-unlimited = Sense límit
status-valid-until = Vàlid fins al dia
status-devices = Dispositius en ús
status-devices-of = { $devices } de { $limit }
status-warning = El vostre temps s’acaba d’aquí a { $time }. Deseu abans la feina.
status-log-out = Tanca la sessió
status-continue = Continua a { $host }

## The logout page

logout-done = Sessió tancada
logout-kept = El temps que queda al vostre codi es guarda per a la propera vegada.
logout-pending = S’ha demanat a la WiFi que tanqui la sessió. Pot trigar un minut.
logout-impossible = Des d’aquí no es pot tancar la sessió d’aquest dispositiu. Continua connectat fins que deixi la WiFi.
logout-again = Torna a connectar-me

## The error page

error-title = No ha funcionat
error-not-from-router = Aquesta pàgina s’ha d’obrir des de l’inici de sessió de la WiFi. Torneu a connectar-vos a la WiFi.
error-unknown-router = Aquesta pàgina no coneix l’encaminador d’aquesta WiFi. Aviseu a recepció.
error-go-to-router = Obre l’accés de la WiFi

## What the router says went wrong

router-timeout = La WiFi no ha respost a temps. Torneu-ho a provar.
router-chap-missing = L’inici de sessió no ha arribat a la WiFi. Torneu-ho a provar.
router-refused = La WiFi no ha acceptat l’inici de sessió. Torneu-ho a provar.

## Devices in use, and taking over a place

devices-title = Dispositius en ús
devices-hint = Per connectar-vos aquí, trieu un dispositiu que es desconnectarà.
devices-ending = Dispositiu acabat en { $end }
devices-use-here = Fes-lo servir aquí
devices-since = des de les { $time }
devices-since-date = des del dia { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } hora
       *[other] { $hours } hores
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } minut
       *[other] { $minutes } minuts
    }
duration-hours-minutes = { duration-hours } i { duration-minutes }
duration-moments = menys d’1 minut

## Dates

time = { $clock }
date = { $day } { month } a les { time }
date-with-year = { $day } { month } de { $year } a les { time }
month =
    { $month ->
        [1] de gener
        [2] de febrer
        [3] de març
        [4] d’abril
        [5] de maig
        [6] de juny
        [7] de juliol
        [8] d’agost
        [9] de setembre
        [10] d’octubre
        [11] de novembre
       *[12] de desembre
    }

## The router's own pages

page-continue = Continua
page-javascript = Per connectar-vos aquí, activeu JavaScript en aquest navegador.
router-fault = La WiFi té una avaria. Aviseu a recepció.
router-no-address = La WiFi no té cap adreça lliure per a aquest dispositiu. Torneu-ho a provar d’aquí a uns minuts.
router-restarting = La WiFi s’està reiniciant. Torneu-ho a provar d’aquí a uns minuts.
router-devices = Aquest codi ja es fa servir en tots els dispositius que permet. Tanqueu primer la sessió en un d’ells.
router-full = La WiFi no admet més dispositius ara mateix. Torneu-ho a provar d’aquí a uns minuts.
router-in-progress = L’inici de sessió encara s’està comprovant. Espereu un moment i torneu-ho a provar.
